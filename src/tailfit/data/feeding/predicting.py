"""What `predict` reads of a `Batches`: its rows are to be the source's."""

import warnings
from typing import Any
from weakref import WeakSet

from tailfit.errors import ArgumentError
from tailfit.samplers import Sequential

__all__ = ["for_prediction"]

_TOLD: WeakSet[Any] = WeakSet()  # of which Batches the order of rows was told


def for_prediction(batches: Any, epoch: int = 0) -> Any:
    """The `Batches` that `predict` reads: in the source's order, unless a sampler was passed.

    Raises:
        ArgumentError: where `drop_remainder` would leave samples out.
    Warns:
        UserWarning: once for each `Batches` of which row i is not sample i.
    """
    read = batches.for_evaluation()
    ordered, size = isinstance(read.sampler, Sequential), read.plan.size(0)
    left_out = size % batches.batch_size
    if ordered and batches.drop_remainder and left_out:
        raise ArgumentError(
            f"Batches with drop_remainder=True to predict, which would leave out the last {left_out} of {size} samples",
            expected="a row for each sample",
            fix="predict on Batches with drop_remainder=False",
        )
    if not (ordered and batches.shard == (0, 1)) and batches not in _TOLD:
        _TOLD.add(batches)
        rows = f"shard {batches.shard[0]} of {batches.shard[1]}" if ordered else f"the order of {batches.sampler!r}"
        name = "batches" if read is batches else "batches.in_source_order()"
        warnings.warn(
            f"predict reads these Batches in {rows}: row i is not sample i of the source. The samples of a step are "
            f"{name}.indices({epoch}, step). For a row a sample in the source's order, leave sampler= and shard= out.",
            stacklevel=4,  # the caller of tailfit.Model.predict
        )
    return read
