"""The order in which `predict` reads a `Batches`: that of the source, so that rows correspond to samples."""

import warnings
from typing import Any
from weakref import WeakSet

from tailfit.errors import ArgumentError
from tailfit.samplers import Sequential

__all__ = ["for_prediction"]

_WARNED: WeakSet[Any] = WeakSet()  # Batches for which the warning was issued


def for_prediction(batches: Any, epoch: int = 0) -> Any:
    """Return the `Batches` that `predict` reads: in the source's order unless a sampler was passed.

    Raises:
        ArgumentError: If `drop_remainder` would leave samples out.
    Warns:
        UserWarning: Once for each `Batches` for which row i of the result is not sample i.
    """
    read = batches.for_evaluation()
    ordered, size = isinstance(read.sampler, Sequential), read.plan.size(0)
    remainder = size % batches.batch_size
    if ordered and batches.drop_remainder and remainder:
        raise ArgumentError(
            f"Batches with drop_remainder=True in predict, which would drop the last {remainder} of {size} samples",
            expected="batches that contain every sample",
            fix="pass Batches with drop_remainder=False",
        )
    if not (ordered and batches.shard == (0, 1)) and batches not in _WARNED:
        _WARNED.add(batches)
        rows = f"shard {batches.shard[0]} of {batches.shard[1]}" if ordered else f"the order of {batches.sampler!r}"
        name = "batches" if read is batches else "batches.in_source_order()"
        warnings.warn(
            f"predict reads these Batches in {rows}, so row i is not sample i of the source. The samples of a step are "
            f"{name}.indices({epoch}, step). For one row per sample in the source's order, drop sampler= and shard=.",
            stacklevel=4,  # the caller of tailfit.Model.predict
        )
    return read
