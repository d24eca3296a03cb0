"""Class labels in either form, told apart by shape alone, so that it also works inside a compiled graph.

Concepts:
- *codes*: the class of each sample, `(batch, ...)` or `(batch, ..., 1)` beside predictions `(batch, ..., C)`.
- *dense*: one-hot or soft labels, of the predictions' shape `(batch, ..., C)`.
- *mask*: what a masking layer hung on the predictions.
- A code outside `[0, C)` can't raise inside a compiled graph. Its dense row is NaN, so that the loss is
  NaN: seen at once, where a row of zeros would train on as if nothing were wrong.
"""

from typing import Any

import keras
import numpy as np
from keras import ops

from tailfit.errors import ArgumentError
from tailfit.keras_private import get_keras_mask

__all__ = [
    "Tensor",
    "class_count",
    "codes_of",
    "dense_targets",
    "mask_of",
    "weights_of",
    "with_shape",
    "without_ignored",
]

Tensor = Any  # a tensor of whichever backend runs, or what converts to one


def with_shape(value: Any) -> Tensor:
    """`value` itself if it has a shape and a dtype (a mask may hang on it), else converted to a tensor."""
    return value if hasattr(value, "shape") and hasattr(value, "dtype") else ops.convert_to_tensor(value)


def mask_of(y_pred: Tensor) -> Tensor | None:
    """Which positions a masking layer kept, `bool (batch, ...)`, or None."""
    return get_keras_mask(y_pred)


_ONE_OUTPUT = (
    "end the network in Dense(2), one output a class; for one sigmoid output use keras.losses.BinaryCrossentropy, or a "
    "multi-label loss such as tailfit.losses.BinaryFocal"
)


def class_count(y_pred: Tensor, fewest: int = 2, *, taker: str = "the loss", fix: str = _ONE_OUTPUT) -> int:
    """C, the length of the last axis of the predictions; refused where there is no class axis, or too few in it.

    Args:
        y_pred: `(batch, ..., C)`.
        fewest: The smallest C that will do.
        taker, fix: For the error: what takes the predictions, and what to do where they have one column.
    """
    shape = tuple(y_pred.shape)
    if len(shape) < 2 or shape[-1] is None:
        raise ArgumentError(
            f"y_pred of shape {shape} in {taker}",
            expected="one score a class, (batch, ..., C), with C known",
            fix="end the network in Dense(C), and add the batch axis to a single sample",
        )
    if shape[-1] < fewest:
        raise ArgumentError(
            f"y_pred of shape {shape} in {taker}: one output",
            expected="C >= 2 outputs, one a class",
            fix=fix,
        )
    return int(shape[-1])


def is_dense(y_true: Tensor, y_pred: Tensor) -> bool:
    """Whether labels are one-hot or soft rows (else codes); refused where they fit neither form."""
    classes = class_count(y_pred, fewest=1)
    rank, width = len(y_true.shape), y_true.shape[-1] if len(y_true.shape) else None
    if rank == len(y_pred.shape):
        if width == classes or width is None:
            return True
        if width == 1:
            return False
    elif rank == len(y_pred.shape) - 1:
        return False
    raise ArgumentError(
        f"y_true of shape {tuple(y_true.shape)} beside y_pred of shape {tuple(y_pred.shape)}",
        expected=f"class codes of the shape of y_pred without its last axis (or with 1 there), or one-hot or "
        f"soft labels with {classes} columns",
        fix="check that the last layer has one output a class and that y belongs to this output",
    )


def codes_of(y_true: Any, y_pred: Tensor) -> tuple[Tensor, Tensor]:
    """Codes `int32 (batch, ...)`, and whether each is a whole number in `[0, C)`; of dense labels the largest class."""
    y_true = ops.convert_to_tensor(y_true)
    if is_dense(y_true, y_pred):
        codes = ops.argmax(ops.cast(y_true, "float32"), axis=-1)
        return ops.cast(codes, "int32"), ops.ones_like(codes, dtype="bool")
    codes = _drop_last_axis(y_true, y_pred)
    valid = ops.logical_and(codes >= 0, codes < class_count(y_pred))
    if "float" in keras.backend.standardize_dtype(codes.dtype):
        valid = ops.logical_and(valid, ops.equal(codes, ops.floor(codes)))
    return ops.cast(codes, "int32"), valid


def dense_targets(y_true: Any, y_pred: Tensor, dtype: str) -> Tensor:
    """One-hot or soft labels of the predictions' shape; NaN rows for codes outside `[0, C)`.

    Beside a single output a code is the label itself: 0, 1 or between.
    """
    y_true = ops.convert_to_tensor(y_true)
    if is_dense(y_true, y_pred):
        return ops.cast(y_true, dtype)
    codes = _drop_last_axis(y_true, y_pred)
    if class_count(y_pred, fewest=1) == 1:
        label = ops.expand_dims(ops.cast(codes, dtype), -1)
        return ops.where(ops.logical_and(label >= 0, label <= 1), label, ops.cast(float("nan"), dtype))
    # Compared as they are, never cast to `dtype` first: bfloat16 holds whole numbers only up to 256.
    classes = ops.cast(np.arange(class_count(y_pred)), keras.backend.standardize_dtype(codes.dtype))
    hot = ops.equal(ops.expand_dims(codes, -1), classes)
    known = ops.any(hot, axis=-1, keepdims=True)
    return ops.where(known, ops.cast(hot, dtype), ops.cast(float("nan"), dtype))


def without_ignored(y_true: Any, y_pred: Tensor, weight: Any) -> Tensor:
    """Codes with 0 in place of those that have weight 0, for such codes are often -1 or 255, "no label".

    Without it their NaN would reach the sum, as 0 * NaN is NaN. Dense labels are returned as they are.
    """
    y_true = ops.convert_to_tensor(y_true)
    if is_dense(y_true, y_pred):
        return y_true
    codes = _drop_last_axis(y_true, y_pred)
    ignored = _beside(ops.equal(ops.convert_to_tensor(weight), 0), len(codes.shape))
    if len(ignored.shape) > len(codes.shape):
        return y_true  # Keras refuses or broadcasts such weights later, as it always does
    return ops.where(ignored, ops.zeros_like(codes), codes)


def weights_of(y_pred: Tensor, sample_weight: Any, dtype: str) -> Tensor:
    """Weight times mask of each position, of the shape of `y_pred` without its last axis; 1 where nothing is said."""
    weights = ops.ones_like(ops.cast(y_pred[..., 0], dtype))
    for given in (sample_weight, mask_of(y_pred)):
        if given is not None:
            weights = weights * _beside(ops.cast(ops.convert_to_tensor(given), dtype), len(weights.shape))
    return weights


def _beside(weight: Tensor, rank: int) -> Tensor:
    """A weight of each sample or position brought to the rank of the codes; of more axes as it is."""
    if len(weight.shape) == rank + 1 and weight.shape[-1] == 1:
        return ops.squeeze(weight, axis=-1)
    while len(weight.shape) < rank:
        weight = ops.expand_dims(weight, axis=-1)
    return weight


def _drop_last_axis(y_true: Tensor, y_pred: Tensor) -> Tensor:
    codes = ops.squeeze(y_true, axis=-1) if len(y_true.shape) == len(y_pred.shape) else y_true
    dtype = keras.backend.standardize_dtype(codes.dtype)
    return codes if "float" in dtype else ops.cast(codes, "int32")
