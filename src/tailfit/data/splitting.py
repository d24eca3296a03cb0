"""Positions of the parts of a source: by a partition of IDs, by stratified shares, or by shares of whole groups.

Concepts:
- *stratum*: a set of samples that a split divides in proportion: a class, the most likely class of soft labels, or a
  combination of labels of multi-label samples. An unlabelled source is one stratum.
- *share*: part p should have `n_c * f_p` samples of stratum c, rarely a whole number. `_quotas` rounds the table of
  strata and parts so that each cell and each column sum (a part's size) is its exact value rounded down or up.
- *group*: samples that stay in one part, see `tailfit.data.grouping`.
- *order*: a hash of (seed, position) decides which samples of a stratum go to which part, so that splits are the same
  on every platform and NumPy version, and independent of global random state.
"""

import hashlib
import math
import operator
from collections import deque
from collections.abc import Mapping, Sequence
from itertools import pairwise
from os import PathLike, fspath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tailfit.data.grouping import Grouping, Samples, components, grouping_of
from tailfit.data.tables.ids import KnownIDs
from tailfit.data.tables.reading import read_json
from tailfit.errors import ArgumentError, DataError
from tailfit.hashing import GOLDEN, mix_words
from tailfit.names import check_names

__all__ = ["by_partition", "by_shares"]

_UNIT = 10**9  # shares are whole billionths, so that sums and remainders are exact


def by_shares(
    source: Samples, shares: tuple[Any, ...], by: Any, seed: Any
) -> tuple[list[NDArray[np.int64]], Grouping | None]:
    """Return the positions of each part, and the groups that are not cut; see `Source.split`."""
    if not isinstance(seed, int | np.integer):
        raise ArgumentError(f"seed={seed!r}", expected="a whole number", fix="pass seed=0, for example")
    seed = int(seed)
    units = _checked_shares(shares)
    strata = _strata(source)
    groups = source.grouping if by is None else components(grouping_of(source, by), source.grouping)
    part = _stratified(strata, units, seed) if groups is None else _grouped(strata, units, groups, seed)
    parts = [np.flatnonzero(part == number) for number in range(len(units))]
    for share, indices in zip(shares, parts, strict=True):
        if not len(indices):
            raise ArgumentError(
                f"the share {share} of {len(source)} samples" + (f" in groups by {groups.by}" if groups else ""),
                expected="shares with at least one sample in each part",
                fix="increase the share, or drop the part",
            )
    return parts, groups


def by_partition(source: Samples, partition: Mapping[str, Any] | str | PathLike[str]) -> dict[str, NDArray[np.int64]]:
    """Return the positions of each part of a partition, in its order; see `Source.split`."""
    table = partition if isinstance(partition, Mapping) else read_json(partition)
    where = "" if isinstance(partition, Mapping) else f" in {fspath(partition)}"
    known, names = KnownIDs(source.ids), set(source.ids)
    part_of: dict[str, str] = {}
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
                raise DataError(
                    f"ID {sample!r} in partition {name!r}{where}",
                    expected="strings as IDs",
                    fix="convert the IDs to strings: '7', not 7",
                )
        spellings = known.spellings(sample for sample in ids if sample not in names)
        chosen[name] = [str(spellings.get(sample, sample)) for sample in ids]
        for sample in chosen[name]:
            if sample in part_of:
                again = f"twice in partition {name!r}"
                both = f"in the partitions {part_of[sample]!r} and {name!r}"
                raise DataError(
                    f"ID {sample!r} {again if part_of[sample] == name else both}{where}",
                    expected="each ID at most once, in one partition",
                    fix="keep it in one partition, because a model must not be tested on samples it was trained on",
                )
            part_of[sample] = name
    for sample, name in part_of.items():
        if sample not in names:
            raise DataError(
                f"the unknown ID {sample!r} in partition {name!r}{where}",
                expected=f"IDs of the source's {len(source)} samples",
                fix="correct or drop the ID",
            )
    parts = {name: source.positions(ids) for name, ids in chosen.items()}
    _refuse_cut_groups(source, parts, where)
    return parts


def _refuse_cut_groups(source: Samples, parts: Mapping[str, NDArray[np.int64]], where: str) -> None:
    groups = source.grouping
    if groups is None:
        return
    home = np.full(len(groups.names), -1, dtype=np.int64)
    for number, (name, positions) in enumerate(parts.items()):
        codes = groups.codes[positions]
        cut = np.flatnonzero((home[codes] >= 0) & (home[codes] != number))
        if len(cut):
            code = int(codes[cut[0]])
            first = list(parts)[home[code]]
            both = [source.ids[int(parts[part][groups.codes[parts[part]] == code][0])] for part in (first, name)]
            raise DataError(
                f"the group {groups.names[code]!r} (by {groups.by}) in the partitions {first!r} (ID {both[0]!r}) and "
                f"{name!r} (ID {both[1]!r}){where}",
                expected="all samples of a group in one partition, because they resemble each other",
                fix="move them into one partition; if they are independent of each other, use source.grouped(None)",
            )
        home[codes] = number


def _checked_shares(shares: tuple[Any, ...]) -> NDArray[np.int64]:
    """Check the fractions; return them in billionths, which sum to exactly `_UNIT`."""
    valid = len(shares) >= 2 and all(
        isinstance(share, int | float | np.integer | np.floating) and 0 < share < 1 for share in shares
    )
    if not valid or abs(sum(shares) - 1) > 1e-6:
        raise ArgumentError(
            f"the shares {', '.join(map(str, shares))}" if shares else "no shares",
            expected="two or more positive fractions that sum to one, or one partition of IDs",
            fix="pass the fractions of all parts, for example split(0.8, 0.1, 0.1)",
        )
    units = np.array([round(float(share) * _UNIT) for share in shares], dtype=np.int64)
    units[np.argmax(units)] += _UNIT - units.sum()
    return units


def _strata(source: Samples) -> NDArray[np.int64]:
    """Return the stratum of each sample as consecutive numbers from 0."""
    labels = source.labels
    if labels is None:
        return np.zeros(len(source), dtype=np.int64)
    if source.label_kind == "soft":
        labels = labels.argmax(axis=1)
    return np.unique(labels, axis=0, return_inverse=True)[1].reshape(-1).astype(np.int64)


def _stratified(strata: NDArray[np.int64], units: NDArray[np.int64], seed: int) -> NDArray[np.int64]:
    """Return the part of each sample."""
    quotas = _quotas(np.bincount(strata), units)
    order = np.lexsort((_hash(seed, len(strata)), strata))
    part = np.empty(len(strata), dtype=np.int64)
    part[order] = np.repeat(np.tile(np.arange(len(units)), len(quotas)), quotas.reshape(-1))
    return part


def _quotas(counts: NDArray[np.int64], units: NDArray[np.int64]) -> NDArray[np.int64]:
    """Round the table `counts[c] * units[p] / _UNIT`: row sums stay exact, cells and column sums change by less than 1.

    A table with whole row sums can always be rounded like this, because its cells are a flow, and flows with whole
    bounds have whole solutions. Start by rounding up the largest remainders of each row. Then columns whose sum is too
    large pass units to columns whose sum is too small, along the shortest chain of rows that may round differently.
    """
    exact = counts[:, None] * units[None, :]  # in billionths, so int64 is enough for 9 * 10**9 samples
    low, rest = exact // _UNIT, exact % _UNIT
    spare = (rest.sum(axis=1) // _UNIT)[:, None]
    rank = np.argsort(np.argsort(-rest, axis=1, kind="stable"), axis=1, kind="stable")
    up = (rank < spare) & (rest > 0)
    total = rest.sum(axis=0)
    least, most = total // _UNIT, -(-total // _UNIT)
    while True:
        rounded_up = up.sum(axis=0)
        if (rounded_up > most).any():
            givers, takers = rounded_up > most, rounded_up < most
        elif (rounded_up < least).any():
            givers, takers = rounded_up > least, rounded_up < least
        else:
            quotas: NDArray[np.int64] = low + up
            return quotas
        may_go_up = ~up & (rest > 0)
        chain = _shortest_chain(up.T.astype(np.int64) @ may_go_up > 0, givers, takers)
        for giver, taker in pairwise(chain):
            # Of the strata that allow it choose the largest, whose proportions change least by one sample.
            row = int(np.argmax(np.where(up[:, giver] & may_go_up[:, taker], counts, -1)))
            up[row, giver], up[row, taker] = False, True


def _shortest_chain(steps: NDArray[np.bool_], starts: NDArray[np.bool_], goals: NDArray[np.bool_]) -> list[int]:
    """Return the columns of a shortest path from a start to a goal; one exists, see `_quotas`."""
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


def _grouped(strata: NDArray[np.int64], units: NDArray[np.int64], grouping: Grouping, seed: int) -> NDArray[np.int64]:
    """Return the part of each sample. Groups are placed by size, each in the part that lacks most of its strata."""
    groups = np.unique(grouping.codes, return_inverse=True)[1].reshape(-1).astype(np.int64)  # none is empty
    sizes, counts, shares = np.bincount(groups), np.bincount(strata), (units / _UNIT).tolist()
    if len(sizes) < len(shares):
        raise ArgumentError(
            f"{len(sizes)} group{'s'[: len(sizes) != 1]} (by {grouping.by}) for {len(shares)} parts",
            expected="at least one group for each part, because no group is cut",
            fix="split into fewer parts, or by smaller groups: see Source.grouped",
        )
    pairs, members = np.unique(np.stack([groups, strata], axis=1), axis=0, return_counts=True)
    starts = np.searchsorted(pairs[:, 0], np.arange(len(sizes) + 1))
    lack = [[share * count for count in counts.tolist()] for share in shares]
    free = [share * len(strata) for share in shares]
    part_of, empty = np.full(len(sizes), -1, dtype=np.int64), set(range(len(shares)))
    order = np.lexsort((_hash(seed, len(sizes)), -sizes)).tolist()
    for left, group in zip(range(len(order), 0, -1), order, strict=True):
        span = slice(starts[group], starts[group + 1])
        inside = list(zip(pairs[span, 1].tolist(), members[span].tolist(), strict=True))
        size = int(sizes[group])

        # The decrease of the squared relative error, halved, without the terms that are equal for all parts.
        def gain(part: int, inside: list[tuple[int, int]] = inside, size: int = size) -> float:
            per_class = (count * lack[part][c] / int(counts[c]) ** 2 for c, count in inside)
            return math.fsum([*per_class, size * free[part] / len(strata) ** 2])

        best = max(sorted(empty) if left <= len(empty) else range(len(shares)), key=gain)
        empty.discard(best)
        part_of[group] = best
        free[best] -= size
        for c, count in inside:
            lack[best][c] -= count
    parts: NDArray[np.int64] = part_of[groups]
    return parts


def _hash(seed: int, size: int) -> NDArray[np.uint64]:
    """Return `size` random keys, each a function of (seed, position): splitmix64 from a hashed start."""
    digest = hashlib.blake2b(f"tailfit split {operator.index(seed)}".encode(), digest_size=8).digest()
    words = np.arange(size, dtype=np.uint64) * np.uint64(GOLDEN)
    return mix_words(words + np.uint64(int.from_bytes(digest, "little")))
