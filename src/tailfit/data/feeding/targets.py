"""Labels of a source as the targets of its batches."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from tailfit.data.source import Source

__all__ = ["as_targets", "compact_labels"]


def compact_labels(source: Source) -> NDArray[Any] | None:
    """Return the labels, class indices in the smallest dtype, for fewer cache misses when they are read at random."""
    labels = source.labels
    if labels is None or labels.ndim == 2:
        return labels
    compact: NDArray[Any] = labels.astype(np.min_scalar_type(len(source.class_names)))
    return compact


def as_targets(labels: NDArray[Any], *, one_hot_of: int | None) -> NDArray[Any]:
    """Return class indices as `int32[b]`, or one-hot as `float32[b, one_hot_of]`; other labels unchanged.

    >>> as_targets(np.array([1, 0], np.uint8), one_hot_of=2).tolist()
    [[0.0, 1.0], [1.0, 0.0]]
    """
    if labels.ndim == 2:
        return labels
    if one_hot_of is not None:
        rows = np.zeros((len(labels), one_hot_of), dtype=np.float32)
        rows[np.arange(len(labels)), labels] = 1.0
        return rows
    # int32 as in Keras' own data sets; JAX would narrow int64 with a warning.
    return labels.astype(np.int32)
