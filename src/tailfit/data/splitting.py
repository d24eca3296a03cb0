"""Parts of a source: by a partition of IDs, by stratified shares, or by shares of whole groups.

Concepts:
- *stratum*: the samples that a split keeps in proportion: a class; of soft labels the most likely class; of
  multi-label samples each combination of labels. An unlabelled source is one stratum.
- *share*: of stratum c part p wants `n_c * f_p` samples, rarely a whole number. `_quotas` rounds the table of
  strata and parts so that each cell and each column (a part's size) is its exact value rounded down or up.
- *order*: which samples of a stratum go where is decided by a hash of (seed, position): the same on every
  platform and NumPy version, and no global generator is touched.
"""

import hashlib
import math
import operator
from collections import deque
from collections.abc import Mapping, Sequence
from itertools import pairwise
from os import PathLike, fspath
from typing import Any, Protocol

import numpy as np
import polars as pl
from numpy.typing import NDArray

from tailfit.data.tables.ids import KnownIDs
from tailfit.data.tables.reading import read_json
from tailfit.errors import ArgumentError, DataError
from tailfit.hashing import GOLDEN, mix_words
from tailfit.names import check_names

__all__ = ["Samples", "by_partition", "by_shares"]

_UNIT = 10**9  # shares in whole billionths: sums and remainders are exact


class Samples(Protocol):
    """The parts of a source that a split depends on."""

    def __len__(self) -> int: ...

    @property
    def ids(self) -> Sequence[str]: ...

    @property
    def labels(self) -> NDArray[Any] | None: ...

    @property
    def label_kind(self) -> Any: ...

    @property
    def metadata(self) -> pl.DataFrame | None: ...

    def positions(self, ids: Sequence[str]) -> NDArray[np.int64]: ...


def by_shares(source: Samples, shares: tuple[Any, ...], by: Any, seed: Any) -> list[NDArray[np.int64]]:
    """Return the positions of each part; see `Source.split`."""
    if not isinstance(seed, int | np.integer):
        raise ArgumentError(f"seed={seed!r}", expected="a whole number", fix="use seed=0")
    seed = int(seed)
    wanted = _checked_shares(shares)
    strata = _strata(source)
    groups = None if by is None else _group_codes(source, by)
    part = _stratified(strata, wanted, seed) if groups is None else _grouped(strata, wanted, groups, seed)
    parts = [np.flatnonzero(part == number) for number in range(len(wanted))]
    for share, indices in zip(shares, parts, strict=True):
        if not len(indices):
            raise ArgumentError(
                f"the share {share} of {len(source)} samples" + (f" in groups by {by!r}" if by is not None else ""),
                expected="shares that give each part a sample",
                fix="raise the share, or leave the part out",
            )
    return parts


def by_partition(source: Samples, partition: Mapping[str, Any] | str | PathLike[str]) -> dict[str, NDArray[np.int64]]:
    """Return the positions of each part of a partition, in its order; see `Source.split`."""
    table = partition if isinstance(partition, Mapping) else read_json(partition)
    where = "" if isinstance(partition, Mapping) else f" in {fspath(partition)}"
    known, there = KnownIDs(source.ids), set(source.ids)
    home: dict[str, str] = {}
    chosen: dict[str, list[str]] = {}
    check_names(table, "partition")
    for name, ids in table.items():
        if isinstance(ids, str) or not isinstance(ids, Sequence | np.ndarray):
            raise DataError(
                f"partition {name!r} of type {type(ids).__name__}{where}",
                expected="a list of IDs for each partition",
                fix="write the IDs as a list of strings",
            )
        for sample in ids:
            if not isinstance(sample, str):
                raise DataError(f"ID {sample!r} in partition {name!r}{where}", expected="strings", fix="'7' and not 7")
        spellings = known.spellings(sample for sample in ids if sample not in there)
        chosen[name] = [str(spellings.get(sample, sample)) for sample in ids]
        for sample in chosen[name]:
            if sample in home:
                again = f"twice in partition {name!r}"
                both = f"in the partitions {home[sample]!r} and {name!r}"
                raise DataError(
                    f"ID {sample!r} {again if home[sample] == name else both}{where}",
                    expected="each ID once, in one partition",
                    fix="keep it in one: a sample that is trained on tells nothing about unseen ones",
                )
            home[sample] = name
    for sample, name in home.items():
        if sample not in there:
            raise DataError(
                f"the unknown ID {sample!r} in partition {name!r}{where}",
                expected=f"IDs of the source's {len(source)} samples",
                fix="correct the ID, or leave it out",
            )
    return {name: source.positions(ids) for name, ids in chosen.items()}


def _checked_shares(shares: tuple[Any, ...]) -> NDArray[np.int64]:
    """Fractions in whole billionths that sum to exactly one."""
    sound = len(shares) >= 2 and all(
        isinstance(share, int | float | np.integer | np.floating) and 0 < share < 1 for share in shares
    )
    if not sound or abs(sum(shares) - 1) > 1e-6:
        raise ArgumentError(
            f"shares {', '.join(map(str, shares)) or 'none'}",
            expected="two or more positive fractions that sum to one, or one partition of IDs",
            fix="name all parts, e.g. split(0.8, 0.1, 0.1)",
        )
    wanted = np.array([round(float(share) * _UNIT) for share in shares], dtype=np.int64)
    wanted[np.argmax(wanted)] += _UNIT - wanted.sum()
    return wanted


def _strata(source: Samples) -> NDArray[np.int64]:
    """The stratum of each sample, from 0 without gaps."""
    labels = source.labels
    if labels is None:
        return np.zeros(len(source), dtype=np.int64)
    if source.label_kind == "soft":
        labels = labels.argmax(axis=1)
    return np.unique(labels, axis=0, return_inverse=True)[1].reshape(-1).astype(np.int64)


def _stratified(strata: NDArray[np.int64], wanted: NDArray[np.int64], seed: int) -> NDArray[np.int64]:
    quotas = _quotas(np.bincount(strata), wanted)
    order = np.lexsort((_hash(seed, len(strata)), strata))
    part = np.empty(len(strata), dtype=np.int64)
    part[order] = np.repeat(np.tile(np.arange(len(wanted)), len(quotas)), quotas.reshape(-1))
    return part


def _quotas(counts: NDArray[np.int64], wanted: NDArray[np.int64]) -> NDArray[np.int64]:
    """The table `counts[c] * wanted[p] / _UNIT` in whole numbers, rows exact, cells and columns off by less than 1.

    A table with whole row sums can always be rounded so (its cells are a flow, and flows have whole solutions).
    Start from each row's largest remainders; then columns that are off trade units along the shortest chain of
    rows that may round the other way.
    """
    exact = counts[:, None] * wanted[None, :]  # whole billionths: int64 holds 9 * 10**9 samples
    low, rest = exact // _UNIT, exact % _UNIT
    spare = (rest.sum(axis=1) // _UNIT)[:, None]
    rank = np.argsort(np.argsort(-rest, axis=1, kind="stable"), axis=1, kind="stable")
    up = (rank < spare) & (rest > 0)
    total = rest.sum(axis=0)
    least, most = total // _UNIT, -(-total // _UNIT)
    while True:
        units = up.sum(axis=0)
        if (units > most).any():
            givers, takers = units > most, units < most
        elif (units < least).any():
            givers, takers = units > least, units < least
        else:
            quotas: NDArray[np.int64] = low + up
            return quotas
        room = ~up & (rest > 0)
        chain = _shortest_chain(up.T.astype(np.int64) @ room > 0, givers, takers)
        for giver, taker in pairwise(chain):
            # The largest stratum that can: one sample is the smallest part of it.
            row = int(np.argmax(np.where(up[:, giver] & room[:, taker], counts, -1)))
            up[row, giver], up[row, taker] = False, True


def _shortest_chain(steps: NDArray[np.bool_], starts: NDArray[np.bool_], goals: NDArray[np.bool_]) -> list[int]:
    """Columns from a start to a goal by the fewest allowed steps; it exists, see `_quotas`."""
    queue = deque([[int(start)] for start in np.flatnonzero(starts)])
    seen = set(np.flatnonzero(starts).tolist())
    while True:
        chain = queue.popleft()
        if goals[chain[-1]]:
            return chain
        for column in np.flatnonzero(steps[chain[-1]]).tolist():
            if column not in seen:
                seen.add(column)
                queue.append([*chain, column])


def _group_codes(source: Samples, by: Any) -> NDArray[np.int64]:
    if isinstance(by, str):
        if source.metadata is None or by not in source.metadata.columns:
            columns = "no metadata" if source.metadata is None else f"metadata columns {source.metadata.columns}"
            raise ArgumentError(
                f"by={by!r} with {columns}", expected="a metadata column", fix="name one, or pass an array of keys"
            )
        column = source.metadata[by]
        if column.dtype.is_float():  # NaN is as missing as null is
            column = column.fill_nan(None)
        if column.null_count():
            name = source.ids[int(np.argmax(column.is_null().to_numpy()))]
            raise DataError(
                f"no {by!r} for ID {name!r}", expected="a group for each sample", fix="fill in the metadata"
            )
        keys: NDArray[Any] = column.to_numpy()
    else:
        try:
            keys = np.asarray(by)
        except ValueError:  # keys of unequal length
            keys = np.empty(0)
    if keys.shape != (len(source),):
        raise ArgumentError(
            f"by of shape {keys.shape}", expected=f"one key for each of {len(source)} samples", fix="check by"
        )
    try:
        codes: NDArray[np.int64] = np.unique(keys, return_inverse=True)[1].astype(np.int64)
    except TypeError:
        raise ArgumentError(
            f"by with keys of the types {sorted({type(key).__name__ for key in keys})}",
            expected="keys of one type that can be sorted",
            fix="write them as strings",
        ) from None
    return codes


def _grouped(
    strata: NDArray[np.int64], wanted: NDArray[np.int64], groups: NDArray[np.int64], seed: int
) -> NDArray[np.int64]:
    """Largest group first, each to the part where its classes, and the size, lack most of what they should have."""
    sizes, counts, shares = np.bincount(groups), np.bincount(strata), (wanted / _UNIT).tolist()
    if len(sizes) < len(shares):
        raise ArgumentError(
            f"{len(sizes)} groups for {len(shares)} parts",
            expected="a group for each part, at least",
            fix="split without by=, or into fewer parts",
        )
    pairs, members = np.unique(np.stack([groups, strata], axis=1), axis=0, return_counts=True)
    starts = np.searchsorted(pairs[:, 0], np.arange(len(sizes) + 1))
    lack = [[share * count for count in counts.tolist()] for share in shares]
    room = [share * len(strata) for share in shares]
    home, empty = np.full(len(sizes), -1, dtype=np.int64), set(range(len(shares)))
    order = np.lexsort((_hash(seed, len(sizes)), -sizes)).tolist()
    for left, group in zip(range(len(order), 0, -1), order, strict=True):
        span = slice(starts[group], starts[group + 1])
        inside = list(zip(pairs[span, 1].tolist(), members[span].tolist(), strict=True))
        size = int(sizes[group])

        # The fall of the squared relative error, halved and without the terms that are the same for all parts.
        def gain(part: int, inside: list[tuple[int, int]] = inside, size: int = size) -> float:
            per_class = (count * lack[part][c] / int(counts[c]) ** 2 for c, count in inside)
            return math.fsum([*per_class, size * room[part] / len(strata) ** 2])

        best = max(sorted(empty) if left <= len(empty) else range(len(shares)), key=gain)
        empty.discard(best)
        home[group] = best
        room[best] -= size
        for c, count in inside:
            lack[best][c] -= count
    part: NDArray[np.int64] = home[groups]
    return part


def _hash(seed: int, size: int) -> NDArray[np.uint64]:
    """Return `size` random keys, each a function of (seed, position): splitmix64 from a hashed start."""
    digest = hashlib.blake2b(f"tailfit split {operator.index(seed)}".encode(), digest_size=8).digest()
    words = np.arange(size, dtype=np.uint64) * np.uint64(GOLDEN)
    return mix_words(words + np.uint64(int.from_bytes(digest, "little")))
