"""The number of samples in a batch, and the divisor of each loss reduction."""

from typing import Any

import keras
from keras import ops

__all__ = ["divisor", "rows_of"]


def divisor(reduction: str | None, y_pred: Any, sample_weight: Any, mask: Any) -> Any:
    """Return the number by which `keras.losses.Loss` divides the sum over a batch, up to a constant factor."""
    if reduction == "sum":
        return 1.0
    weight = sample_weight if reduction == "mean_with_sample_weight" else None
    if mask is None and weight is None:
        shape = ops.shape(y_pred)
        return ops.prod(ops.convert_to_tensor(shape[:-1] if len(shape) > 1 else shape, dtype="int32"))
    dtype = keras.backend.floatx()
    if mask is None or weight is None:
        return ops.sum(ops.cast(mask if weight is None else weight, dtype))
    mask, weight = ops.cast(mask, dtype), ops.cast(weight, dtype)
    if len(weight.shape) == len(mask.shape) + 1 and weight.shape[-1] == 1:
        weight = ops.squeeze(weight, axis=-1)
    while len(weight.shape) < len(mask.shape):
        weight = ops.expand_dims(weight, axis=-1)
    return ops.sum(mask * weight)


def rows_of(x: Any) -> Any:
    """Return the number of samples in a batch; an `int` where it is known during tracing."""
    return ops.shape(next(part for part in keras.tree.flatten(x) if part is not None))[0]
