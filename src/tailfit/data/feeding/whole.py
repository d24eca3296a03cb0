"""All samples of a `Batches` as one batch, for consumers that gather batches by themselves."""

import math
from typing import Any

import numpy as np

from tailfit.data.feeding.batches import Batches
from tailfit.data.records.trees import leaves

__all__ = ["whole_batch"]


def whole_batch(batches: Batches, most: float = math.inf) -> tuple[Any, ...] | None:
    """Return all samples of the source as one batch in its order, with the weights of epoch 0.

    Row i of any batch is then row `indices[i]` of these arrays, apart from a schedule of weights. None if that is not
    so, because of `transform` or `on_error="skip"`; if the source is not in memory; or if the arrays take more than
    `most` bytes.

    >>> import tailfit
    >>> batches = Batches(tailfit.data.Arrays(np.arange(3.0), ["ok", "leak", "ok"]), 2)
    >>> [part.tolist() for part in whole_batch(batches)]
    [[0.0, 1.0, 2.0], [1, 0, 1]]
    """
    source = batches.source
    if not source.in_memory or source.ragged or batches.transform is not None or batches._substitute is not None:
        return None
    one = batches._read(0, 0, np.arange(1))
    if len(source) * sum(leaf.nbytes for _, leaf in leaves(one)) > most:
        return None
    return batches._read(0, 0, np.arange(len(source)))
