"""`Grouping`: which group each test sample belongs to, such as the recording or the machine it was taken from.

Samples of one group resemble each other, so a thousand windows of one recording are weaker evidence than
a thousand recordings.

Groups, sources of samples and recordings are all groupings: a name for each group, and an index for each sample.
"""

import hashlib
import itertools
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from tailfit.errors import DataError
from tailfit.evaluation.metrics import Codes, read_only
from tailfit.names import check_names, invalid_names

__all__ = ["Grouping", "checked_grouping", "checked_ids", "checked_metadata", "group_counts", "ids_digest"]


@dataclass(frozen=True, eq=False)
class Grouping:
    """A partition of the test samples.

    Attributes:
        names: Names of the G groups, in the order of their first samples.
        index: Group of each sample, `int64[n]`, read-only.

    >>> grouping = checked_grouping(["well 2", "well 1", "well 2"])
    >>> grouping.names, grouping.index.tolist()
    (('well 2', 'well 1'), [0, 1, 0])
    """

    names: tuple[str, ...]
    index: Codes

    def __len__(self) -> int:
        return len(self.names)

    @property
    def independent(self) -> bool:
        """Whether each group has one sample, so that samples are as independent as groups."""
        return len(self.names) == len(self.index)

    def by_class(self, y_true: Codes, num_classes: int) -> tuple[tuple[str, ...], ...]:
        """Return, for each class, the names of the groups that have samples of it.

        >>> checked_grouping(["a", "b", "b"]).by_class(np.array([0, 0, 1]), 2)
        (('a', 'b'), ('b',))
        """
        pairs = np.unique(y_true * len(self) + self.index)
        bounds = np.searchsorted(pairs // len(self), np.arange(num_classes + 1))
        members = pairs % len(self)
        return tuple(tuple(self.names[g] for g in members[start:stop]) for start, stop in itertools.pairwise(bounds))

    def to_plain(self) -> dict[str, Any]:
        """Return the fields for JSON."""
        return {"names": self.names, "index": self.index.tolist()}

    @classmethod
    def from_plain(cls, fields: Any, samples: int, what: str) -> "Grouping":
        """Read what `to_plain` returned.

        Args:
            fields: The fields.
            samples: Number of test samples.
            what: Description of the grouping in messages.
        Raises:
            ValueError: If the fields are not a partition of the samples.
        """
        names, index = tuple(fields["names"]), np.array(fields["index"])
        if invalid_names(names) or len(set(names)) != len(names):
            raise ValueError(f"{what} with an invalid or repeated name")
        if index.dtype.kind != "i" or index.shape != (samples,):
            raise ValueError(f"{what} without one index for each sample")
        found, first = np.unique(index, return_index=True)
        if not np.array_equal(found, np.arange(len(names))) or (np.diff(first) < 0).any():
            raise ValueError(f"{what} whose indices are not those of {len(names)} names, in the order of the samples")
        return cls(names, read_only(index.astype(np.int64)))


def checked_grouping(
    groups: Any, samples: int | None = None, *, what: str = "groups", missing: str | None = None
) -> Grouping:
    """Return the grouping of samples by a value of each.

    Args:
        groups: Whole numbers, strings or booleans, `[n]`.
        samples: n, the required number of values.
        what: Description of the values in messages.
        missing: Name of the group of missing values, which are refused by default.
    Raises:
        DataError: If the values are not one-dimensional, of another number or type, or missing.
    """
    array = _as_values(groups, what)
    if samples is not None and len(array) != samples:
        raise DataError(
            f"{len(array)} {what} for {samples} samples",
            expected="one group for each sample, in the order of the samples",
            fix="take the groups of exactly the samples whose labels are passed, such as source.groups",
        )
    absent = _missing(array)
    if missing is None and absent.any():
        raise DataError(
            f"{what} whose row {int(np.argmax(absent))} is missing",
            expected="a group for each sample",
            fix="leave the samples out, or give each a group of its own",
        )
    texts = iter(_as_texts(array[~absent], what))
    index: dict[str, int] = {}  # in the order of the first samples
    of_each = [index.setdefault((missing or "") if gone else next(texts), len(index)) for gone in absent.tolist()]
    return Grouping(tuple(index), read_only(np.array(of_each, np.int64)))


def group_counts(grouping: Grouping | None, y_true: Codes, num_classes: int) -> tuple[int | None, ...]:
    """Return the number of groups that have samples of each class; None for each class if the groups are unknown."""
    if grouping is None:
        return (None,) * num_classes
    return tuple(map(len, grouping.by_class(y_true, num_classes)))


def checked_ids(ids: Any, samples: int) -> tuple[str, ...] | None:
    """Return the IDs of samples as strings; None stays None.

    Raises:
        DataError: If there is not one different ID for each sample.
    """
    if ids is None:
        return None
    texts = tuple(_as_texts(_as_values(ids, "ids"), "ids"))
    if len(texts) != samples:
        raise DataError(
            f"{len(texts)} ids for {samples} samples",
            expected="one ID for each sample, in the order of the samples",
            fix="pass the ids of exactly the samples whose labels are passed, such as source.ids",
        )
    if len(set(texts)) != samples:
        again = Counter(texts).most_common(1)[0][0]
        raise DataError(
            f"ids with {again!r} twice", expected="a different ID for each sample", fix="evaluate each sample once"
        )
    return texts


def ids_digest(ids: Sequence[str]) -> str:
    """Return the SHA-256 of IDs in their order, to tell whether two evaluations are of the same samples.

    >>> ids_digest(["a", "b"]) == ids_digest(["ab"])
    False
    """
    return hashlib.sha256("\0".join(ids).encode()).hexdigest()


def checked_metadata(metadata: Any, samples: int) -> pl.DataFrame | None:
    """Return the metadata of samples; None stays None.

    Raises:
        DataError: If they are not a polars DataFrame with one row for each sample.
    """
    if metadata is None:
        return None
    if not isinstance(metadata, pl.DataFrame):
        raise DataError(
            f"metadata of type {type(metadata).__name__}",
            expected="a polars DataFrame with one row for each sample",
            fix="convert it with polars.DataFrame(...) or polars.from_pandas(...)",
        )
    if metadata.height != samples:
        raise DataError(
            f"metadata of {metadata.height} rows for {samples} samples",
            expected="one row for each sample, in the order of the samples",
            fix="take the rows of exactly the samples whose labels are passed, such as source.metadata",
        )
    return metadata


def _as_values(values: Any, what: str) -> NDArray[Any]:
    try:
        array = np.asarray(values)
    except ValueError:  # rows of unequal length
        array = np.empty((0, 0))
    if array.ndim != 1 or array.dtype.kind not in "iubfOUT":
        raise DataError(
            f"{what} of shape {array.shape} and type {array.dtype}",
            expected="one whole number or string for each sample",
            fix=f"pass {what} as a one-dimensional array or list",
        )
    return array


def _missing(array: NDArray[Any]) -> NDArray[np.bool_]:
    if array.dtype.kind == "f":
        return np.array(np.isnan(array), bool)
    if array.dtype.kind != "O":
        return np.zeros(len(array), bool)
    return np.array([value is None or value != value for value in array], bool)


def _as_texts(array: NDArray[Any], what: str) -> list[str]:
    if array.dtype.kind == "f":
        if not (np.isfinite(array) & (array == np.floor(array))).all():
            raise DataError(
                f"{what} with fractions",
                expected="whole numbers or strings",
                fix=f"pass {what} as whole numbers or strings",
            )
        array = array.astype(np.int64)
    if array.dtype.kind == "O" and not all(isinstance(each, str | int | np.integer) for each in array):
        odd = next(each for each in array if not isinstance(each, str | int | np.integer))
        raise DataError(
            f"{what} with {odd!r:.60}", expected="whole numbers or strings", fix=f"convert {what} to strings"
        )
    texts = list(map(str, array.tolist()))
    check_names(list(dict.fromkeys(texts)), f"{what} value", "rename it")
    return texts
