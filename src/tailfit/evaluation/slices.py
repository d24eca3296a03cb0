"""Slices: the same figures for the samples of one metadata value, such as one source, site or machine.

A high recall may come from an easy source alone. Each slice has the recall of every class and their mean, with
intervals between groups (between samples, if these are independent): those of `tailfit.evaluation.group_recalls` and
`tailfit.evaluation.group_intervals`, computed from the samples of the slice.

The balanced accuracy of a slice is the mean over the classes that it has. Slices with different classes are therefore
not comparable by it; compare the recalls of a class.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

import numpy as np
import polars as pl

from tailfit.errors import ArgumentError, DataError
from tailfit.evaluation.group_intervals import FEW_GROUPS, GroupedPredictions
from tailfit.evaluation.grouping import Grouping, checked_grouping
from tailfit.evaluation.metrics import Codes, Figure
from tailfit.names import invalid_names

__all__ = ["MISSING", "Slice", "Slicing", "TrainMetadata", "slice_counts", "slices_of", "slicings_of"]

TrainMetadata: TypeAlias = pl.DataFrame | Mapping[str, Mapping[str, int]]

MISSING: Final = "(missing)"
"""Name of the slice of samples without a value."""
_PLACES: Final = ("id", "record", "recording", "start")  # columns that identify samples
_MOST_VALUES: Final = 30  # of a column that is chosen automatically
_MOST_CELLS: Final = 5_000  # values times classes of such a column
_NAN: Final = Figure(np.nan, np.nan, np.nan)


@dataclass(frozen=True, kw_only=True)
class Slice:
    """The figures of the samples with one value of a metadata column.

    Attributes:
        value: The value, as text.
        train: Number of training samples with it; None if unknown.
        test: Number of test samples with it.
        groups: Number of groups of these test samples; None if groups are unknown.
        classes: Number of classes that these test samples have.
        balanced_accuracy: Mean recall of these classes; NaN without test samples.
        recalls: Recall of each class, NaN where the slice has no test samples of it.

    >>> from tailfit import evaluate
    >>> sites = pl.DataFrame({"site": ["A", "A", "B"]})
    >>> [(each.value, each.test) for each in evaluate([0, 1, 0], [0, 1, 1], metadata=sites).slices["site"]]
    [('A', 2), ('B', 1)]
    """

    value: str
    train: int | None
    test: int
    groups: int | None
    classes: int
    balanced_accuracy: Figure
    recalls: tuple[Figure, ...]

    @property
    def trusted(self) -> bool:
        """Whether enough groups are behind the figures for their intervals."""
        return self.groups is None or self.groups == 0 or self.groups >= FEW_GROUPS


@dataclass(frozen=True, eq=False)
class Slicing:
    """A metadata column of the test samples.

    Attributes:
        values: Value of each test sample, as a grouping.
        train: Number of training samples with each value, in the order of the slices; None if unknown.
    """

    values: Grouping
    train: Mapping[str, int] | None = None

    def to_plain(self) -> dict[str, Any]:
        """Return the fields for JSON."""
        return {**self.values.to_plain(), "train": None if self.train is None else dict(self.train)}

    @classmethod
    def from_plain(cls, fields: Any, samples: int) -> "Slicing":
        """Read what `to_plain` returned.

        Raises:
            ValueError: If the fields do not fit the samples.
        """
        train = fields["train"]
        if train is not None and not _are_counts(train):
            raise ValueError("slices with invalid training counts")
        return cls(Grouping.from_plain(fields, samples, "slices"), train)


def slice_counts(metadata: pl.DataFrame | None) -> dict[str, dict[str, int]]:
    """Count the samples of each value of each column of text, categories or booleans with up to 30 different values.

    >>> slice_counts(pl.DataFrame({"source": ["real", "drawn", "real"], "rows": [10, 20, 30]}))
    {'source': {'real': 2, 'drawn': 1}}
    """
    if metadata is None:
        return {}
    found = {}
    for column in metadata.get_columns():
        if column.name in _PLACES or not _has_names(column) or column.n_unique() > _MOST_VALUES:
            continue
        counts = column.cast(pl.String).value_counts(sort=True).rows()
        found[column.name] = {MISSING if value is None else value: int(count) for value, count in counts}
    return found


def slicings_of(
    metadata: pl.DataFrame | None, train: TrainMetadata | None, columns: Sequence[str] | None, num_classes: int
) -> dict[str, Slicing]:
    """Return the columns by which figures are sliced.

    Args:
        metadata: Metadata of the test samples.
        train: Metadata of the training samples, or what `slice_counts` returns for them.
        columns: Names of columns; None chooses those of `slice_counts` with at least two values in both parts together.
        num_classes: C.
    Raises:
        ArgumentError: If a column is unknown, or `train` has another type.
    """
    counts = slice_counts(train) if isinstance(train, pl.DataFrame) else train
    if counts is not None and not (isinstance(counts, Mapping) and all(_are_counts(each) for each in counts.values())):
        raise ArgumentError(
            f"train_metadata of type {type(train).__name__}",
            expected="a polars DataFrame with one row for each training sample",
            fix="pass source.metadata of the training source",
        )
    known = [] if metadata is None else metadata.columns
    if columns is not None and (isinstance(columns, str) or not all(name in known for name in columns)):
        raise ArgumentError(
            f"slices={columns!r:.80}",
            expected=f"a list of metadata columns, of {known}",
            fix="pass slices=['source'], for example, or leave it out",
        )
    found = {}
    chosen = slice_counts(metadata) if columns is None else dict.fromkeys(columns)
    for name in chosen if metadata is not None else ():
        values = checked_grouping(_texts(metadata[name]), what=f"values of {name!r}", missing=MISSING)  # type: ignore[index]
        of_train = None if counts is None else counts.get(name)
        number = len({*values.names, *(of_train or ())})
        if columns is None and not (2 <= number <= _MOST_VALUES and number * num_classes <= _MOST_CELLS):
            continue
        found[name] = Slicing(values, of_train)
    return found


def slices_of(
    slicing: Slicing, y_true: Codes, y_pred: Codes, groups: Grouping | None, num_classes: int, confidence: float
) -> tuple[Slice, ...]:
    """Return the slices of a column, the one with most test samples first; those of training samples only come last.

    >>> slicing = Slicing(checked_grouping(["real", "real", "drawn"]))
    >>> [(each.value, float(each.balanced_accuracy)) for each in slices_of(
    ...     slicing, np.array([0, 1, 0]), np.array([0, 1, 1]), None, 2, 0.95)]
    [('real', 1.0), ('drawn', 0.0)]
    """
    train, names = slicing.train, slicing.values.names
    order = np.argsort(slicing.values.index, kind="stable")
    sizes = np.bincount(slicing.values.index, minlength=len(names))
    found = []
    for k, rows in enumerate(np.split(order, np.cumsum(sizes)[:-1])):
        index = np.arange(len(rows)) if groups is None else np.unique(groups.index[rows], return_inverse=True)[1]
        number = int(index.max()) + 1
        grouped = GroupedPredictions(y_true[rows], y_pred[np.newaxis, rows], index.reshape(-1), number, num_classes)
        recalls = grouped.recalls([0])
        low, high = recalls.limits(confidence)
        found.append(
            Slice(
                value=names[k],
                train=None if train is None else train.get(names[k], 0),
                test=len(rows),
                groups=None if groups is None else number,
                classes=len(np.unique(y_true[rows])),
                balanced_accuracy=grouped.interval([0], "balanced_accuracy", confidence),
                recalls=tuple(Figure(*each) for each in zip(recalls.recall, low, high, strict=True)),
            )
        )
    found.sort(key=lambda each: -each.test)
    for value, count in ({} if train is None else train).items():
        if value not in names:
            found.append(
                Slice(
                    value=value,
                    train=count,
                    test=0,
                    groups=None if groups is None else 0,
                    classes=0,
                    balanced_accuracy=_NAN,
                    recalls=(_NAN,) * num_classes,
                )
            )
    return tuple(found)


def _has_names(column: pl.Series) -> bool:
    return column.dtype in (pl.String, pl.Categorical, pl.Enum, pl.Boolean)


def _texts(column: pl.Series) -> list[Any]:
    try:
        return column.cast(pl.String).to_list()
    except pl.exceptions.PolarsError as error:
        raise DataError(
            f"the metadata column {column.name!r} of type {column.dtype}",
            expected="a column of text, numbers, booleans or dates",
            fix="choose a different column",
        ) from error


def _are_counts(counts: Any) -> bool:
    return (
        isinstance(counts, Mapping)
        and not invalid_names(list(counts))
        and all(type(count) is int and count >= 0 for count in counts.values())
    )
