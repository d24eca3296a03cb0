"""Augmentation by mixing records of one class."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tailfit.arguments import checked_number
from tailfit.augment.base import Augmentation, class_indices
from tailfit.errors import ArgumentError

__all__ = ["MixWithinClass"]


@dataclass(frozen=True, kw_only=True)
class MixWithinClass(Augmentation):
    """Mix each record with a random one of the same class in the batch, as SMOTE does; labels stay the same.

    A record that is the only one of its class in the batch stays as it is; the samplers `PerClass` and `ClassBalanced`
    draw several of each. Labels are class indices or one-hot: samples with several classes are refused.

    Args:
        most: Largest weight of the other record, in [0, 1]; the weight is uniform between 0 and this.
        share, only_repeats: See `Augmentation`.
    Source: Chawla et al. 2002, SMOTE, with a random record of the class instead of a near one.

    >>> x = np.array([0.0, 8.0, 5.0]).reshape(3, 1, 1)
    >>> mixed, y = MixWithinClass()((x, np.array([0, 0, 1])), np.random.default_rng(1))
    >>> mixed.ravel().round(2).tolist()
    [3.31, 6.36, 5.0]
    """

    most: float = 0.5

    def __post_init__(self) -> None:
        super().__post_init__()
        checked_number(self.most, "most", least=0, most=1, fix="pass most=0.5, for example")

    def changed(self, x: NDArray[Any], y: Any, rng: np.random.Generator) -> NDArray[Any]:
        """Return the mixed records."""
        if y is None:
            raise ArgumentError(
                "batches without labels for MixWithinClass", expected="batches (x, y)", fix="use another augmentation"
            )
        labels = class_indices(y)
        order = np.argsort(labels, kind="stable")
        _, first, counts = np.unique(labels[order], return_index=True, return_counts=True)
        which = np.repeat(np.arange(len(counts)), counts)  # group of each record, in sorted order
        drawn = first[which] + (rng.random(len(x)) * counts[which]).astype(np.int64)
        partner = np.empty(len(x), dtype=np.int64)
        partner[order] = order[drawn]
        weight = rng.uniform(0, self.most, len(x))[:, None, None]
        return x * (1 - weight) + x[partner] * weight
