"""Filling of missing readings as operations of Keras, which are saved with a model and need no tailfit."""

from typing import Any

import numpy as np
from keras import ops

from tailfit.data import FillMissing

__all__ = ["filled"]


def filled(records: Any, fill: FillMissing) -> Any:
    """Apply `FillMissing` to a tensor of records, symbolic or not.

    Args:
        records: Records `(batch, ..., steps, channels)` of a fixed number of steps, with NaN for missing readings.
        fill: The method and its statistics.
    Shapes: the same shape, or twice the channels with the mask.

    >>> records = ops.convert_to_tensor([[[np.nan], [5.0], [np.nan]]])
    >>> ops.convert_to_numpy(filled(records, FillMissing(method="forward", mask=True))).tolist()
    [[[0.0, 0.0], [5.0, 1.0], [5.0, 0.0]]]
    """
    missing = ops.isnan(records)
    values = _forward(records) if fill.method == "forward" else records
    mean = np.zeros(1) if fill.mean is None or fill.method == "zero" else fill.mean
    values = ops.where(ops.isnan(values), mean.astype(np.float32), values)
    if not fill.mask:
        return values
    return ops.concatenate([values, ops.cast(ops.logical_not(missing), "float32")], axis=-1)


def _forward(values: Any) -> Any:
    """Replace each NaN with the previous reading along the axis before the last, where there is one.

    After the pass with a shift of s, a missing reading has the newest one of the 2s - 1 steps before it, so that
    log2(steps) passes are enough.
    """
    steps, axis = values.shape[-2], len(values.shape) - 2
    before = (slice(None),) * axis
    shift = 1
    while shift < steps:
        first, rest = values[(*before, slice(None, shift))], values[(*before, slice(shift, None))]
        earlier = values[(*before, slice(None, steps - shift))]
        values = ops.concatenate([first, ops.where(ops.isnan(rest), earlier, rest)], axis=axis)
        shift *= 2
    return values
