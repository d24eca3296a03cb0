"""Cross-validation folds of a source: stratified by class, and never cutting a group."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tailfit.arguments import whole_number
from tailfit.data.source import Source, Subset
from tailfit.data.splitting import by_shares
from tailfit.errors import ArgumentError

__all__ = ["folds"]


def folds(
    source: Source, count: int = 5, *, by: str | Sequence[str] | ArrayLike | None = None, seed: int = 0
) -> list[tuple[Subset, Subset]]:
    """Divide a source into folds; return the training and the validation part of each.

    Each sample is in exactly one validation part. Folds are the parts of a split into equal shares, see `Source.split`:
    stratified by class as far as groups allow, and equal for a seed on every platform and in every version of
    scikit-learn.

    Args:
        source: Source of the samples.
        count: Number of folds, >= 2.
        by: Further groups that no fold cuts, in addition to those of the source; see `Source.grouped`.
        seed: Seed that selects one of the possible divisions.
    Raises:
        ArgumentError: If there are fewer samples or groups than folds, or there is no such column.
        DataError: If samples have no value in the column of groups.

    >>> import tailfit
    >>> source = tailfit.data.Arrays(np.arange(12), ["ok", "ok", "leak"] * 4).grouped(np.arange(12) // 3)
    >>> [sorted(set(validation.groups.tolist())) for train, validation in folds(source, 4)]
    [[0], [2], [3], [1]]
    """
    if not isinstance(source, Source):
        raise ArgumentError(
            f"a source of type {type(source).__name__}",
            expected="a tailfit.data.Source",
            fix="wrap arrays as tailfit.data.Arrays(x, y)",
        )
    count = whole_number("count", count, least=2)
    if count > len(source):
        raise ArgumentError(
            f"count={count} folds of {len(source)} samples",
            expected="at most as many folds as samples",
            fix="use fewer folds",
        )
    parts, groups = by_shares(source, (1 / count,) * count, by, seed)

    def subset(positions: NDArray[np.int64]) -> Subset:
        return Subset(source, positions, groups=None if groups is None else groups.take(positions))

    everything = np.arange(len(source))
    return [(subset(np.setdiff1d(everything, held_out)), subset(held_out)) for held_out in parts]
