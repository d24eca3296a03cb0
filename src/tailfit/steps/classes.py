"""Which class a sample is of, told from its label alone."""

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from tailfit.errors import StepError

__all__ = ["by_class"]


def by_class(values: Sequence[float], y: Any) -> Any:
    """The number that belongs to each sample's class; 0 for a code that is none.

    Args:
        values: One number a class.
        y: Codes `(batch, ...)` or `(batch, ..., 1)`, or one-hot or soft labels `(batch, ..., C)`, of which the largest
            entry is the class.
    Raises:
        StepError: `y` is no single array.
    """
    if keras.tree.is_nested(y) or y is None:
        raise StepError(
            f"labels of type {type(y).__name__}",
            expected="one array of labels: the step asks for the class of each sample",
            fix="give the model one output, or leave this step out",
        )
    y, count = ops.convert_to_tensor(y), len(values)
    if len(y.shape) > 1 and y.shape[-1] == count:
        codes = ops.argmax(y, axis=-1)
    else:
        codes = ops.squeeze(y, axis=-1) if len(y.shape) > 1 and y.shape[-1] == 1 else y
    # Floats are compared as they are: cast, 1.7 would be class 1, and NaN some class.
    dtype = keras.backend.standardize_dtype(codes.dtype)
    dtype = dtype if "float" in dtype else "int32"
    hot = ops.equal(ops.expand_dims(ops.cast(codes, dtype), -1), ops.cast(ops.arange(count), dtype))
    # A sum over one-hot rows, not a look-up: what a look-up does with a code out of range differs between backends.
    return ops.sum(ops.where(hot, ops.convert_to_tensor(values, dtype="float32"), 0.0), axis=-1)
