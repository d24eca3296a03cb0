"""Groups: sets of samples that belong together, such as all windows of one recording or all recordings of one well.

Samples of one group resemble each other more than samples of different groups. Therefore no split cuts a group (else a
model would be tested on near copies of what it was trained on), and intervals of an evaluation resample whole groups.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import polars as pl
from numpy.typing import NDArray

from tailfit.errors import ArgumentError, DataError
from tailfit.names import check_names

__all__ = ["Grouping", "Samples", "components", "concatenated", "grouping_of"]

_SHOWN = 3  # names in a message


class Samples(Protocol):
    """The parts of a source that groups and splits depend on."""

    def __len__(self) -> int: ...

    @property
    def ids(self) -> Sequence[str]: ...

    @property
    def labels(self) -> NDArray[Any] | None: ...

    @property
    def label_kind(self) -> Any: ...

    @property
    def metadata(self) -> pl.DataFrame | None: ...

    @property
    def grouping(self) -> "Grouping | None": ...

    def positions(self, ids: Sequence[str]) -> NDArray[np.int64]: ...


@dataclass(frozen=True, eq=False)
class Grouping:
    """The group of each sample.

    Attributes:
        codes: Index of each sample's group in `names`, `int64[n]`.
        names: Name of each group, also of those without a sample in a part.
        by: What the groups are, for messages: the names of metadata columns, `"record"`, or `"keys"`.
    """

    codes: NDArray[np.int64]
    names: tuple[str, ...]
    by: str

    def __post_init__(self) -> None:
        check_names(self.names, "group")

    def take(self, positions: NDArray[np.int64]) -> "Grouping":
        """Return the groups of some samples, with all names."""
        return Grouping(self.codes[positions], self.names, self.by)


def grouping_of(source: Samples, by: Any) -> Grouping:
    """Return the groups of equal values of metadata columns, or of equal keys.

    Args:
        source: Source of the samples.
        by: A metadata column, a list of metadata columns (a group has equal values in all of them), or n keys.
    Raises:
        ArgumentError: If there is no such column, or not one key per sample.
        DataError: If samples have no value in the column; the message names them.

    >>> import tailfit
    >>> metadata = pl.DataFrame({"well": ["B", "A", "B"]})
    >>> groups = grouping_of(tailfit.data.Arrays(np.zeros(3), metadata=metadata), "well")
    >>> groups.codes.tolist(), groups.names
    ([1, 0, 1], ('A', 'B'))
    """
    columns = _columns(source, by)
    if columns:
        grouped = [_by_column(source, name) for name in columns]
        return grouped[0] if len(grouped) == 1 else _combined(grouped)
    keys = _keys(source, by)
    try:
        distinct, codes = np.unique(keys, return_inverse=True)
    except TypeError:
        raise ArgumentError(
            f"by with keys of the types {sorted({type(key).__name__ for key in keys})}",
            expected="keys of one sortable type",
            fix="convert the keys to strings",
        ) from None
    missing = distinct.dtype.kind == "f" and np.isnan(distinct).any()
    if missing:
        raise _without_group(source, np.flatnonzero(np.isnan(keys)), "key")
    return Grouping(codes.reshape(-1).astype(np.int64), tuple(map(str, distinct.tolist())), "keys")


def components(first: Grouping, second: Grouping | None) -> Grouping:
    """Return the finest groups that cut no group of either grouping.

    >>> well = Grouping(np.array([0, 0, 1, 2]), ("A", "B", "C"), "well")
    >>> joined = components(well, Grouping(np.array([0, 1, 1, 2]), ("Mon", "Tue", "Wed"), "day"))
    >>> joined.codes.tolist(), joined.names
    ([0, 0, 0, 1], ('A + B', 'C'))
    """
    if second is None or second is first:
        return first
    # Imported here because it takes longer than everything else that sources import.
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    (known, one), (_, other) = (np.unique(groups.codes, return_inverse=True) for groups in (first, second))
    if len(known) > int(other.max(initial=-1)) + 1:
        return components(second, first)  # so that components are named after the larger groups
    size = len(known) + int(other.max(initial=-1)) + 1
    edges = coo_array((np.ones(len(one), np.int8), (one, other + len(known))), shape=(size, size))
    number, joined = connected_components(edges, directed=False)
    inside: list[list[str]] = [[] for _ in range(number)]
    for code, component in zip(known.tolist(), joined[: len(known)].tolist(), strict=True):
        inside[component].append(first.names[code])
    by = first.by if number == len(known) else f"{first.by} and {second.by}"
    return Grouping(joined[one].astype(np.int64), tuple(map(" + ".join, inside)), by)


def concatenated(parts: Sequence[Samples], prefixes: Sequence[str]) -> Grouping | None:
    """Return the groups of concatenated sources; None if no source has groups.

    Groups of the same name and meaning (`by`) are one group, so that none is cut. A prefix makes records distinct.
    Samples of a source without groups are a group each.
    """
    if all(part.grouping is None for part in parts):
        return None
    index: dict[tuple[str, str], int] = {}  # of (by, name)
    codes = []
    for part, prefix in zip(parts, prefixes, strict=True):
        groups = part.grouping
        if groups is None:
            keys = [("sample", f"{prefix}{name}") for name in part.ids]
        elif groups.by == "record":
            keys = [("record", f"{prefix}{name}") for name in groups.names]
        else:
            keys = [(groups.by, name) for name in groups.names]
        places = np.array([index.setdefault(key, len(index)) for key in keys], dtype=np.int64)
        codes.append(places if groups is None else places[groups.codes])
    unique = len({name for _, name in index}) == len(index)
    names = tuple(name if unique else f"{by} {name}" for by, name in index)
    return Grouping(np.concatenate(codes), names, " or ".join(sorted({by for by, _ in index})))


def _columns(source: Samples, by: Any) -> list[str]:
    """Return the metadata columns that `by` names; none if it contains keys."""
    known = [] if source.metadata is None else source.metadata.columns
    names = [by] if isinstance(by, str) else by
    if not isinstance(names, list | tuple) or not names or not all(isinstance(name, str) for name in names):
        return []
    unknown = [name for name in names if name not in known]
    if unknown and not isinstance(by, str) and len(names) == len(source):
        return []  # keys of text
    if unknown:
        raise ArgumentError(
            f"by={unknown[0]!r} with {f'metadata columns {known}' if known else 'no metadata'}",
            expected="the name of a metadata column",
            fix="pass an existing name, or an array of keys",
        )
    return list(names)


def _by_column(source: Samples, name: str) -> Grouping:
    column: pl.Series = source.metadata[name]  # type: ignore[index]
    missing = column.is_null()
    if column.dtype.is_float():  # NaN means missing, like null
        missing |= column.is_nan().fill_null(value=True)
    elif column.dtype == pl.String:
        missing |= (column == "").fill_null(value=True)
    if missing.any():
        raise _without_group(source, np.flatnonzero(missing.to_numpy()), f"value of {name!r}")
    try:
        distinct = column.unique().sort()
        table = distinct.to_frame("key").with_row_index("code")
        codes = column.to_frame("key").join(table, on="key", how="left", maintain_order="left")["code"]
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException):
        raise ArgumentError(
            f"by={name!r}, a metadata column of type {column.dtype}",
            expected="a column of text, numbers, booleans or dates",
            fix="choose a different column",
        ) from None
    return Grouping(codes.to_numpy().astype(np.int64), tuple(map(str, distinct.to_list())), name)


def _combined(columns: Sequence[Grouping]) -> Grouping:
    distinct, codes = np.unique(np.stack([groups.codes for groups in columns], axis=1), axis=0, return_inverse=True)
    names = [
        " / ".join(groups.names[code] for groups, code in zip(columns, row, strict=True)) for row in distinct.tolist()
    ]
    return Grouping(codes.reshape(-1).astype(np.int64), tuple(names), " and ".join(groups.by for groups in columns))


def _keys(source: Samples, by: Any) -> NDArray[Any]:
    try:
        keys = np.asarray(by)
    except ValueError:  # keys of different length
        keys = np.empty(0)
    if keys.shape != (len(source),):
        raise ArgumentError(
            f"by of shape {keys.shape}",
            expected=f"one key for each of {len(source)} samples",
            fix="pass an array of this length",
        )
    return keys


def _without_group(source: Samples, positions: NDArray[np.int64], what: str) -> DataError:
    ids = [repr(source.ids[position]) for position in positions[:_SHOWN].tolist()]
    more = f" and {len(positions) - _SHOWN} more" if len(positions) > _SHOWN else ""
    return DataError(
        f"{'ID' if len(positions) == 1 else 'IDs'} {', '.join(ids)}{more} without a {what}",
        expected="a group for each sample",
        fix="fill in the missing values; a sample that belongs to no group gets a unique value",
    )
