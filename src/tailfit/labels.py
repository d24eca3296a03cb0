"""Labels in every form users hold them, brought to one: integer codes, or a matrix of indicators.

Concepts:
- *codes*: `int64[n]`, the class of each sample, `0 <= code < num_classes`.
- *one-hot*: `[n, C]` of 0 and 1, each row summing to one. It is the same as codes and is turned into them.
- *soft*: `[n, C]` in [0, 1], each row summing to one: a distribution over classes.
- *multi-label*: `[n, C]` of 0 and 1 in which some row has several ones. Rows of zeros are allowed.

A 0/1 matrix whose rows sum to one *or zero* is refused: it is a one-hot matrix with holes far more
often than it is multi-label, and Keras' argmax silently makes class 0 of such rows.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from tailfit.errors import DataError
from tailfit.names import check_names, first_odd

__all__ = ["Encoded", "checked_probabilities", "class_key", "encode", "encode_codes"]

Kind = Literal["codes", "soft", "multi-label"]
_ROW_SUM_TOLERANCE = 1e-3  # float16 soft labels over 1000 classes stay within it


@dataclass(frozen=True, eq=False)
class Encoded:
    """Labels brought to one form.

    Attributes:
        kind: `"codes"` (one-hot matrices become codes), `"soft"` or `"multi-label"`.
        values: `int64[n]` for codes, else `float32[n, C]`.
        class_names: C names; the codes written as strings where the labels had no names.
    """

    kind: Kind
    values: NDArray[Any]
    class_names: tuple[str, ...]

    def __post_init__(self) -> None:
        check_names(self.class_names, "class name", "rename the class")

    def take(self, rows: NDArray[np.int64]) -> "Encoded":
        """The labels of some samples, with all class names."""
        return Encoded(self.kind, self.values[rows], self.class_names)

    @property
    def num_classes(self) -> int:
        """C, classes without a sample included."""
        return len(self.class_names)

    @property
    def class_counts(self) -> NDArray[np.float64]:
        """Samples per class, `float64[C]`; of soft labels, the expected number."""
        if self.kind == "codes":
            return np.bincount(self.values, minlength=self.num_classes).astype(np.float64)
        totals: NDArray[np.float64] = self.values.sum(axis=0, dtype=np.float64)
        return totals


def encode(
    y: Any,
    *,
    class_names: Sequence[str] | None = None,
    num_classes: int | None = None,
    what: str = "labels",
    ids: Sequence[str] | None = None,
    strip: bool = False,
) -> Encoded:
    """Bring labels of any form to codes or an indicator matrix.

    Args:
        y: Integer codes `[n]` or `[n, 1]`, strings `[n]`, or a one-hot, soft or multi-label matrix `[n, C]`.
        class_names: Names of the C classes, in the order of their codes. Strings not among them are refused.
            Without it, strings are coded by their sorted order.
        num_classes: C, where the labels alone don't tell (classes without a sample).
        what: How messages call the labels.
        ids: The ID of each row, for messages.
        strip: Whether white space around names is dropped, from labels and `class_names`: `"ok "` is then `"ok"`.
    Raises:
        DataError: naming the first offending row.

    >>> encode(["leak", "ok", "leak"]).values.tolist()
    [0, 1, 0]
    >>> encode([[0, 1], [1, 0]]).values.tolist()
    [1, 0]
    >>> encode(["ok", "ok "], strip=True).class_names
    ('ok',)
    """
    names = _checked_names(class_names, num_classes, what)
    encoded = _encode(y, names, num_classes, _Subject(what, ids), strip)
    return _stripped(encoded) if strip else encoded


def _encode(
    y: Any, names: tuple[str, ...] | None, num_classes: int | None, subject: "_Subject", strip: bool
) -> Encoded:
    what = str(subject)
    array = _as_array(y, subject)
    if array.ndim == 0:
        raise DataError(
            f"{what} of type {type(y).__name__}",
            expected="a label for each sample",
            fix="pass them as a list or an array",
        )
    if array.dtype == object:
        array = _from_objects(array, subject)
    if array.ndim == 2 and array.shape[1] == 1 and not _is_text(array):
        array = array[:, 0]
    if array.ndim == 2 and not _is_text(array):
        return _encode_matrix(array, names, num_classes, subject)
    if array.ndim != 1:
        raise DataError(
            f"{what} of shape {array.shape}",
            expected="one label a sample [n], or a matrix [n, classes]",
            fix="labels per time step or pixel: flatten them first",
        )
    if _is_text(array):
        return _encode_text(array, names, num_classes, subject, strip)
    return _encode_integers(array, names, num_classes, subject)


def encode_codes(
    y: Any, *, class_names: Sequence[str] | None = None, num_classes: int | None = None, what: str = "labels"
) -> Encoded:
    """As `encode`, for what needs exactly one class a sample; soft and multi-label matrices are refused.

    Raises:
        DataError: naming the first row that has no single class.

    >>> encode_codes([2, 0, 2]).class_counts.tolist()
    [1.0, 0.0, 2.0]
    """
    encoded = encode(y, class_names=class_names, num_classes=num_classes, what=what)
    if encoded.kind == "codes":
        return encoded
    row = int(np.argmax((encoded.values > 0).sum(axis=1) != 1))
    raise DataError(
        f"{what} whose row {row} is {_row(encoded.values[row])} ({encoded.kind})",
        expected="one class a sample: codes, names, or one-hot rows that sum to one",
        fix="pass one code a sample, e.g. y.argmax(axis=1) where the largest is meant",
    )


def checked_probabilities(rows: Any, *, what: str = "probabilities") -> NDArray[np.float64]:
    """Probabilities of C >= 2 exclusive classes as `float64[n, C]`: in [0, 1], rows summing to one.

    Raises:
        DataError: naming the first row that is none.

    >>> checked_probabilities([[0.25, 0.75]]).tolist()
    [[0.25, 0.75]]
    """
    try:
        array = np.asarray(rows, dtype=np.float64)
    except (TypeError, ValueError):
        array = np.empty(0)
    if array.ndim != 2 or array.shape[1] < 2:
        raise DataError(
            f"{what} of shape {np.shape(rows)}",
            expected="a matrix [n, C], one column a class",
            fix="pass what predict gives for C >= 2 outputs",
        )
    good = ((array >= 0) & (array <= 1 + _ROW_SUM_TOLERANCE)).all(axis=1)  # False for NaN too
    good &= np.abs(array.sum(axis=1) - 1) <= _ROW_SUM_TOLERANCE
    if not good.all():
        row = int(np.argmin(good))
        raise DataError(
            f"{what} whose row {row} is {_row(array[row])}",
            expected="numbers in [0, 1] that sum to one",
            fix="of logits, take the softmax first, or say from_logits=True where that is asked",
        )
    return array


def class_key(key: Any) -> str | int | None:
    """A class as a table by class names it: its name, or its code; None for what is neither.

    Whole floats are codes, as in `dict(zip(np.unique(y), weights))` of float labels; truth values are not.

    >>> class_key(np.str_("leak")), class_key(np.int64(2)), class_key(2.0), class_key(1.5), class_key(True)
    ('leak', 2, 2, None, None)
    """
    if isinstance(key, str):
        return str(key)
    if isinstance(key, int | np.integer) and not isinstance(key, bool):
        return int(key)
    if isinstance(key, float | np.floating) and np.isfinite(key) and key == np.floor(key):
        return int(key)
    return None


@dataclass(frozen=True)
class _Subject:
    """How messages call the labels, and one row of them."""

    what: str
    ids: Sequence[str] | None = None

    def __str__(self) -> str:
        return self.what

    def row(self, row: int) -> str:
        named = "" if self.ids is None or row >= len(self.ids) else f" (ID {self.ids[row]!r})"
        return f"{self.what} whose row {row}{named}"


def _checked_names(class_names: Sequence[str] | None, num_classes: int | None, what: str) -> tuple[str, ...] | None:
    if class_names is None:
        return None
    if isinstance(class_names, str) or not isinstance(class_names, Iterable):
        raise DataError(f"class_names={class_names!r}", expected="a sequence of names", fix="put the names in a list")
    names = tuple(str(name) for name in class_names)
    check_names(names, "class name", "rename the class")
    repeated = sorted(name for name, times in Counter(names).items() if times > 1)
    if repeated:
        raise DataError(f"class_names with {repeated[0]!r} twice", expected="each name once", fix="rename one of them")
    if num_classes is not None and num_classes != len(names):
        raise DataError(
            f"{len(names)} class_names and num_classes={num_classes} for the {what}",
            expected="the same number of both",
            fix="leave num_classes out: the names tell it",
        )
    return names


def _as_array(y: Any, what: _Subject) -> NDArray[Any]:
    if np.ma.is_masked(y):
        row = int(np.nonzero(np.ma.getmaskarray(y))[0][0])
        raise DataError(
            f"{what.row(row)} is masked", expected="labels, none missing", fix="drop the sample or label it"
        )
    try:
        array = np.asarray(y)
    except ValueError as error:
        raise _ragged(what) from error
    if _is_text(array) and array.ndim == 1 and not isinstance(y, np.ndarray):
        # As objects, for NumPy would write a missing label, NaN, as the text "nan", and drop NULs at the end of names.
        array = np.fromiter(y, dtype=object, count=len(array))
    return array


def _ragged(what: _Subject) -> DataError:
    return DataError(
        f"{what} with rows of unequal length",
        expected="a rectangular array",
        fix="give every row the same classes",
    )


def _is_text(array: NDArray[Any]) -> bool:
    return array.dtype.kind in "UT"


def _from_objects(array: NDArray[Any], what: _Subject) -> NDArray[Any]:
    """Object arrays come from lists of mixed things, pandas columns and polars strings."""
    flat = array.ravel()
    text = [isinstance(value, str) for value in flat]
    if all(text):
        _check_texts(flat.tolist(), what)
        return array.astype(str)
    missing = [value is None for value in flat]
    if any(text) or any(missing):
        odd = missing.index(True) if any(missing) else text.index(False)
        raise DataError(
            f"{what.row(odd // (flat.size // len(array)))} is {flat[odd]!r} among strings or empty values",
            expected="all strings, or all numbers, none missing",
            fix="give every sample a label of the same type",
        )
    try:
        return np.asarray(array.tolist())
    except ValueError as error:
        raise _ragged(what) from error


def _check_texts(texts: list[str], what: _Subject) -> None:
    odd = first_odd(texts)
    if odd is not None:
        check_names([odd], f"{what.row(texts.index(odd))} is", "rename the class")


def _encode_text(
    array: NDArray[Any], names: tuple[str, ...] | None, num_classes: int | None, what: _Subject, strip: bool
) -> Encoded:
    found, codes = np.unique(array, return_inverse=True)
    if first_odd(found.tolist()) is not None:
        _check_texts(array.tolist(), what)
    if strip:
        found, merged = np.unique([name.strip() for name in found.tolist()], return_inverse=True)
        codes = merged[codes]
    codes = codes.reshape(-1).astype(np.int64)
    if names is None:
        names = tuple(str(name) for name in found)
        if num_classes is not None and num_classes != len(names):
            raise DataError(
                f"{what} with {len(names)} names and num_classes={num_classes}",
                expected="as many names as classes",
                fix="pass class_names: the name of a class without a sample can't be guessed",
            )
        return Encoded("codes", codes, names)
    position = {name.strip() if strip else name: code for code, name in enumerate(names)}
    unknown = [str(name) for name in found if str(name) not in position]
    if unknown:
        row = int(np.argmax(codes == found.tolist().index(unknown[0])))
        near = unknown[0].strip() in position
        raise DataError(
            f"{what.row(row)} is {unknown[0]!r}",
            expected=f"the class names {', '.join(map(repr, names))}",
            fix="pass strip=True to drop the white space"
            if near
            else "add the name to class_names or correct the label",
        )
    table = np.array([position[str(name)] for name in found], dtype=np.int64)
    return Encoded("codes", table[codes], names)


def _stripped(encoded: Encoded) -> Encoded:
    """The same labels without white space around names; classes whose names are equal then are one."""
    each = [name.strip() for name in encoded.class_names]
    codes = {name: code for code, name in enumerate(dict.fromkeys(each))}
    names, place = tuple(codes), np.array([codes[name] for name in each], dtype=np.int64)
    if encoded.kind == "codes":
        return Encoded("codes", place[encoded.values], names)
    joined = np.add if encoded.kind == "soft" else np.maximum
    rows = np.zeros((len(encoded.values), len(names)), encoded.values.dtype)
    for column, target in enumerate(place.tolist()):
        rows[:, target] = joined(rows[:, target], encoded.values[:, column])
    return Encoded(encoded.kind, rows, names)


def _encode_integers(
    array: NDArray[Any], names: tuple[str, ...] | None, num_classes: int | None, what: _Subject
) -> Encoded:
    if array.dtype.kind not in "iub":
        numeric = array.dtype.kind == "f"
        # NaN and infinity fail the comparison; beyond 2**62 a float may not survive as int64.
        odd = ~(np.abs(array) < 2.0**62) | (array != np.floor(array)) if numeric else np.ones(1, dtype=np.bool_)
        if odd.any():
            row = int(np.argmax(odd))
            raise DataError(
                f"{what.row(row)} is {array[row]}" if array.size else f"{what} of type {array.dtype}",
                expected="whole numbers (class codes) or strings (class names)",
                fix="give every sample the code or the name of its class",
            )
    codes = array.astype(np.int64)
    if array.dtype.kind == "u" and codes.size and codes.min() < 0:
        raise DataError(f"{what} beyond 2**63", expected="codes from 0", fix="number the classes from 0")
    given = len(names) if names is not None else num_classes
    count = given if given is not None else (int(codes.max()) + 1 if codes.size else 0)
    if codes.size and (codes.min() < 0 or codes.max() >= count):  # a mask only then: it is slow at 10**8
        row = int(np.argmax((codes < 0) | (codes >= count)))
        raise DataError(
            f"{what.row(row)} is {int(codes[row])}",
            expected=f"class codes from 0 to {count - 1}" if given is not None else "class codes from 0",
            fix="number the classes from 0, or pass their names as strings",
        )
    if given is None and count > max(1024, 64 * codes.size):
        # One stray code, say 10**9, would ask for gigabytes of class table.
        row = int(np.argmax(codes))
        raise DataError(
            f"{what.row(row)} is {int(codes[row])}, of {codes.size} samples",
            expected="class codes counted from 0 without large gaps",
            fix="number the classes 0 to C - 1, or pass num_classes if such gaps are meant",
        )
    return Encoded("codes", codes, names if names is not None else tuple(map(str, range(count))))


def _encode_matrix(
    array: NDArray[Any], names: tuple[str, ...] | None, num_classes: int | None, what: _Subject
) -> Encoded:
    columns = array.shape[1]
    expected = len(names) if names is not None else num_classes
    if expected is not None and expected != columns:
        raise DataError(
            f"{what} with {columns} columns for {expected} classes",
            expected="one column a class",
            fix="check the order and number of class_names",
        )
    names = names if names is not None else tuple(map(str, range(columns)))
    values = array.astype(np.float32)
    inside = (values >= 0) & (values <= 1)  # False for NaN too
    if not inside.all():
        row = int(np.argmax(~inside.all(axis=1)))
        raise DataError(
            f"{what.row(row)} is {_row(array[row])}",
            expected="indicators or probabilities from 0 to 1, none missing",
            fix="normalise the row, or pass class codes",
        )
    sums = values.sum(axis=1, dtype=np.float64)
    whole = bool(np.all((values == 0) | (values == 1)))
    off = np.abs(sums - 1) > _ROW_SUM_TOLERANCE
    if whole and not off.any():
        return Encoded("codes", values.argmax(axis=1).astype(np.int64), names)
    if whole and (sums > 1).any():
        return Encoded("multi-label", values, names)
    if off.any():
        row = int(np.argmax(off))
        raise DataError(
            f"{what.row(row)} is {_row(array[row])}, which sums to {sums[row]:g}",
            expected="one-hot or soft rows that sum to one; multi-label rows of 0 and 1, some with several",
            fix="correct or drop the row",
        )
    return Encoded("soft", values, names)


def _row(row: NDArray[Any]) -> str:
    shown = ", ".join(f"{value:g}" for value in row[:8])
    return f"[{shown}{', ...' if len(row) > 8 else ''}]"
