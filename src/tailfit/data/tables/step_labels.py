"""Labels of steps: raw labels of a column, merged into classes, left out, or refused."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from tailfit.errors import ArgumentError, DataError
from tailfit.names import check_names

__all__ = ["ClassRules", "StepLabels"]

_MOST_CLASSES: Final = 1024  # of a column of labels; one with more values is probably a measurement
_MOST_SHOWN: Final = 20


@dataclass(frozen=True)
class StepLabels:
    """Labels of all steps.

    Attributes:
        values: Class index of each step, `int32[steps]`; -1 for steps that are left out.
        class_names: Names of the C classes in the order of the class indices.
        unlabelled: Number of steps without a label.
        dropped: Number of steps whose label is in `drop`.
    """

    values: NDArray[np.int32]
    class_names: tuple[str, ...]
    unlabelled: int
    dropped: int


class ClassRules:
    """The arguments `classes=` and `drop=` of `Recordings`: which class a raw label belongs to.

    Raw labels are compared as text, in which the number 8.0 is "8".

    Args:
        classes: Raw labels of each class by its name, in the order of the class indices. None: each raw label is a
            class of its own, in sorted order.
        drop: Raw labels whose steps are left out.
    Raises:
        ArgumentError: If an argument has a wrong type, or a raw label is in two places.

    >>> rules = ClassRules({"hydrate": [8, 108], "normal": [0]}, drop=[101])
    >>> labels = rules.encode(pl.Series([0, 108, 101, None, 8]), str)
    >>> labels.values.tolist(), labels.class_names, labels.unlabelled, labels.dropped
    ([1, 0, -1, -1, 0], ('hydrate', 'normal'), 1, 1)
    """

    def __init__(self, classes: Mapping[str, Iterable[Any]] | None, drop: Iterable[Any]) -> None:
        if classes is not None and (not isinstance(classes, Mapping) or not classes):
            raise ArgumentError(
                f"classes={classes!r}",
                expected="a dict of class names to lists of raw labels",
                fix='pass classes={"normal": [0], "leak": [1, 101]}, for example',
            )
        self._drop: Final = frozenset(_keys("drop", drop))
        self._class_of: Final[dict[str, str] | None] = None if classes is None else {}
        self._names: Final = None if classes is None else tuple(classes)
        if classes is None or self._class_of is None:
            return
        check_names(classes, "class name")
        for name, raw in classes.items():
            for key in _keys(f"classes[{name!r}]", raw):
                other = self._class_of.setdefault(key, name)
                if other != name or key in self._drop:
                    raise ArgumentError(
                        f"the label {key} both in {'drop' if other == name else f'the class {other!r}'} and in the "
                        f"class {name!r}",
                        expected="each label in one class, or in drop=",
                        fix="remove it from one of them",
                    )

    def encode(self, values: pl.Series, where: Any, *, strip: bool = False) -> StepLabels:
        """Encode raw labels: whole numbers, texts or booleans; null and NaN are steps without a label.

        Args:
            values: The raw label of each step.
            where: Function that returns the file and row of a step, for messages.
            strip: Whether to strip whitespace around raw labels.
        Raises:
            DataError: If the type is not one of labels, or a raw label is in no class; the message lists all of those
                with their number of steps.
        """
        values = _plain(values, where, strip)
        # Labels change rarely from step to step, so runs of equal labels are counted and encoded instead of steps.
        runs = values.rle()
        sizes, of_runs = runs.struct.field("len"), runs.struct.field("value")
        counts = dict(pl.DataFrame({"raw": of_runs, "steps": sizes}).group_by("raw").agg(pl.sum("steps")).iter_rows())
        unlabelled = counts.pop(None, 0)
        keys = {raw: _key(raw) for raw in counts}
        if self._names is None or self._class_of is None:
            kept = sorted((raw for raw, key in keys.items() if key not in self._drop))
            if len(kept) > _MOST_CLASSES:
                raise DataError(
                    f"{where(0)}: {len(kept)} different labels in the column {values.name!r}",
                    expected=f"at most {_MOST_CLASSES} classes",
                    fix="name the column of labels as label=, and merge labels with classes=",
                )
            names = tuple(keys[raw] for raw in kept)
            class_of: Mapping[str, str] = dict(zip(names, names, strict=True))
        else:
            names, class_of = self._names, self._class_of
        check_names(names, "class name")
        unknown = sorted(raw for raw, key in keys.items() if key not in class_of and key not in self._drop)
        if unknown:
            raise _unknown(values, unknown, counts, where)
        codes = {name: code for code, name in enumerate(names)}
        of_raw = {raw: codes.get(class_of.get(key, ""), -1) if key in class_of else -1 for raw, key in keys.items()}
        encoded = of_runs.replace_strict(
            pl.Series(list(of_raw), dtype=values.dtype), list(of_raw.values()), default=-1, return_dtype=pl.Int32
        )
        dropped = sum(counts[raw] for raw, key in keys.items() if key in self._drop)
        return StepLabels(np.repeat(encoded.to_numpy(), sizes.to_numpy()), names, unlabelled, dropped)


def _keys(what: str, raw: Any) -> list[str]:
    if isinstance(raw, str | bytes | Mapping) or not isinstance(raw, Iterable):
        raise ArgumentError(f"{what} of {raw!r}", expected="a list of raw labels", fix=f"pass [{raw!r}]")
    keys = [_key(value) for value in raw]
    again = next((key for place, key in enumerate(keys) if key in keys[:place]), None)
    if again is not None:
        raise ArgumentError(f"{what} with the label {again} twice", expected="each label once", fix="remove one")
    return keys


def _key(raw: Any) -> str:
    value = raw.item() if isinstance(raw, np.generic) else raw
    if not isinstance(value, str | int | float | bool) or (isinstance(value, float) and not math.isfinite(value)):
        raise ArgumentError(
            f"the label {raw!r} of type {type(raw).__name__}",
            expected="whole numbers, texts or booleans as raw labels",
            fix="list the values as they are in the column of labels",
        )
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


def _plain(values: pl.Series, where: Any, strip: bool) -> pl.Series:
    """Return labels as integers, booleans, texts or floats, without NaN."""
    kind = values.dtype
    if isinstance(kind, pl.Categorical | pl.Enum | pl.Null):
        values = values.cast(pl.String)
    elif kind.is_float():
        values = values.fill_nan(None)
        odd = (values != values.floor()) | values.is_infinite()
        if odd.any():
            row = int(np.argmax(odd.fill_null(False).to_numpy()))
            raise DataError(
                f"{where(row)}: the label {values[row]} in the column {values.name!r}",
                expected="whole numbers, texts or booleans as labels",
                fix="name the column of labels as label=",
            )
        values = values.cast(pl.Int64)
    elif kind.is_decimal() or not (kind.is_integer() or kind in (pl.String, pl.Boolean)):
        raise DataError(
            f"{where(0)}: labels of type {kind} in the column {values.name!r}",
            expected="whole numbers, texts or booleans as labels",
            fix="name the column of labels as label=",
        )
    return values.str.strip_chars() if strip and values.dtype == pl.String else values


def _unknown(values: pl.Series, unknown: Sequence[Any], counts: Mapping[Any, int], where: Any) -> DataError:
    listed = ", ".join(f"{raw!r} ({counts[raw]} steps)" for raw in unknown[:_MOST_SHOWN])
    more = f" and {len(unknown) - _MOST_SHOWN} more" if len(unknown) > _MOST_SHOWN else ""
    first = int(np.argmax((values == unknown[0]).fill_null(False).to_numpy()))
    return DataError(
        f"labels in no class: {listed}{more}; the first {unknown[0]!r} is in {where(first)}",
        expected="each label of the data in classes= or drop=",
        fix=f"add them to a class, or pass drop=[{', '.join(map(repr, unknown[:_MOST_SHOWN]))}]",
    )
