"""Values by class, looked up from labels in any form."""

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from tailfit.errors import StepError

__all__ = ["by_class"]


def by_class(values: Sequence[float], y: Any) -> Any:
    """Return the value of each sample's class; 0 for labels that are not class indices.

    Args:
        values: One number per class.
        y: Class indices `(batch, ...)` or `(batch, ..., 1)`, or one-hot or soft labels `(batch, ..., C)`, whose class
            is the largest entry.
    Raises:
        StepError: If `y` is not a single array.
    """
    if keras.tree.is_nested(y) or y is None:
        raise StepError(
            f"labels of type {type(y).__name__}",
            expected="one array of labels: this step uses the class of each sample",
            fix="give the model one output, or drop this step",
        )
    y, count = ops.convert_to_tensor(y), len(values)
    if len(y.shape) > 1 and y.shape[-1] == count:
        codes = ops.argmax(y, axis=-1)
    else:
        codes = ops.squeeze(y, axis=-1) if len(y.shape) > 1 and y.shape[-1] == 1 else y
    # Floats are compared without a cast, which would turn 1.7 into class 1, and NaN into some class.
    dtype = keras.backend.standardize_dtype(codes.dtype)
    dtype = dtype if "float" in dtype else "int32"
    hot = ops.equal(ops.expand_dims(ops.cast(codes, dtype), -1), ops.cast(ops.arange(count), dtype))
    # A sum over one-hot rows instead of a look-up, whose result for an index out of range differs between backends.
    return ops.sum(ops.where(hot, ops.convert_to_tensor(values, dtype="float32"), 0.0), axis=-1)
