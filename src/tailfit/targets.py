"""Class labels in either form, distinguished by their shape alone, which also works inside a compiled graph.

Concepts:
- *class indices*: the class of each sample, `(batch, ...)` or `(batch, ..., 1)` for predictions `(batch, ..., C)`.
- *dense labels*: one-hot or soft labels in the shape of the predictions, `(batch, ..., C)`.
- *mask*: the Keras mask that a masking layer attached to the predictions.
- Code in a compiled graph cannot raise for a class index outside `[0, C)`. Its dense row is NaN, so that the loss
  becomes NaN, which is noticed. With a row of zeros, training would continue silently.
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
    "class_indices_of",
    "dense_targets",
    "is_dense",
    "mask_of",
    "valid_indices",
    "weights_of",
    "with_shape",
    "without_ignored",
]

Tensor = Any  # a tensor of the active backend, or anything that converts to one


def with_shape(value: Any) -> Tensor:
    """Return `value` itself if it has a shape and a dtype (it may carry a mask), else convert it to a tensor."""
    return value if hasattr(value, "shape") and hasattr(value, "dtype") else ops.convert_to_tensor(value)


def mask_of(y_pred: Tensor) -> Tensor | None:
    """Return the mask of the predictions, bool `(batch, ...)`, or None."""
    return get_keras_mask(y_pred)


_ONE_OUTPUT = (
    "end the network in Dense(2), one output per class; for one sigmoid output use keras.losses.BinaryCrossentropy, or "
    "a multi-label loss such as tailfit.losses.BinaryFocal"
)


def class_count(y_pred: Tensor, least: int = 2, *, consumer: str = "the loss", fix: str = _ONE_OUTPUT) -> int:
    """Return C, the length of the last axis of the predictions.

    Args:
        y_pred: Predictions `(batch, ..., C)`.
        least: Minimum of C.
        consumer, fix: The object that receives the predictions, and the fix for predictions with one column; both for
            the message.
    Raises:
        ArgumentError: If the predictions have no class axis of known length, or C is below the minimum.
    """
    shape = tuple(y_pred.shape)
    if len(shape) < 2 or shape[-1] is None:
        raise ArgumentError(
            f"y_pred of shape {shape} in {consumer}",
            expected="one score per class, (batch, ..., C), with a known C",
            fix="end the network in Dense(C), and add a batch axis if you pass a single sample",
        )
    if shape[-1] < least:
        raise ArgumentError(
            f"y_pred of shape {shape} in {consumer}: one output",
            expected="C >= 2 outputs, one per class",
            fix=fix,
        )
    return int(shape[-1])


def is_dense(y_true: Tensor, y_pred: Tensor) -> bool:
    """Return whether labels are dense; raise if their shape is neither that of dense labels nor of class indices."""
    classes = class_count(y_pred, least=1)
    rank, width = len(y_true.shape), y_true.shape[-1] if len(y_true.shape) else None
    if rank == len(y_pred.shape):
        if width == classes or width is None:
            return True
        if width == 1:
            return False
    elif rank == len(y_pred.shape) - 1:
        return False
    raise ArgumentError(
        f"y_true of shape {tuple(y_true.shape)} with y_pred of shape {tuple(y_pred.shape)}",
        expected=f"class indices in the shape of y_pred without its last axis (or with 1 there), or one-hot or "
        f"soft labels with {classes} columns",
        fix="check that the last layer has one output per class, and that y belongs to this output of the network",
    )


def class_indices_of(y_true: Any, y_pred: Tensor) -> tuple[Tensor, Tensor]:
    """Return class indices, int32 `(batch, ...)`, and whether each is a whole number in `[0, C)`.

    The class of a dense label is its largest entry.
    """
    y_true = ops.convert_to_tensor(y_true)
    if is_dense(y_true, y_pred):
        indices = ops.argmax(ops.cast(y_true, "float32"), axis=-1)
        return ops.cast(indices, "int32"), ops.ones_like(indices, dtype="bool")
    indices, valid = valid_indices(y_true, y_pred)
    return ops.cast(indices, "int32"), valid


def valid_indices(y_true: Any, y_pred: Tensor) -> tuple[Tensor, Tensor]:
    """Return class indices in `[0, C)`, and whether each is the one given, which is invalid otherwise.

    Args:
        y_true: Class indices in one of their shapes, of any dtype.
        y_pred: Predictions `(batch, ..., C)`.
    """
    given = _class_indices(y_true, y_pred)
    indices = ops.clip(given, 0, class_count(y_pred) - 1)
    valid = given == indices
    if "float" in keras.backend.standardize_dtype(given.dtype):
        valid = valid & (given == ops.floor(given))
        indices = ops.cast(ops.where(valid, given, ops.zeros_like(given)), "int32")  # a cast of NaN could be any number
    return indices, valid


def dense_targets(y_true: Any, y_pred: Tensor, dtype: str) -> Tensor:
    """Return one-hot or soft labels in the shape of the predictions; rows of NaN for class indices outside `[0, C)`.

    For a single output the class index is the label itself, in [0, 1]. Dense labels are only cast, so that a second
    call is free: losses convert labels before Keras casts them, and their functions accept both forms.
    """
    y_true = ops.convert_to_tensor(y_true)
    if is_dense(y_true, y_pred):
        return ops.cast(y_true, dtype)
    indices = _class_indices(y_true, y_pred)
    if class_count(y_pred, least=1) == 1:
        label = ops.expand_dims(ops.cast(indices, dtype), -1)
        return ops.where(ops.logical_and(label >= 0, label <= 1), label, ops.cast(float("nan"), dtype))
    # Compare in the dtype of the labels: cast to bfloat16, whole numbers above 256 would be rounded.
    classes = ops.cast(np.arange(class_count(y_pred)), keras.backend.standardize_dtype(indices.dtype))
    hot = ops.equal(ops.expand_dims(indices, -1), classes)
    known = ops.any(hot, axis=-1, keepdims=True)
    return ops.where(known, ops.cast(hot, dtype), ops.cast(float("nan"), dtype))


def without_ignored(y_true: Any, y_pred: Tensor, weight: Any) -> Tensor:
    """Return class indices with 0 in place of those with weight 0, which are often -1 or 255 for "no label".

    Otherwise their NaN would reach the sum, since 0 * NaN is NaN. Dense labels are returned unchanged.
    """
    y_true = ops.convert_to_tensor(y_true)
    if is_dense(y_true, y_pred):
        return y_true
    indices = _class_indices(y_true, y_pred)
    ignored = _with_rank(ops.equal(ops.convert_to_tensor(weight), 0), len(indices.shape))
    if len(ignored.shape) > len(indices.shape):
        return y_true  # leave it to Keras to refuse or broadcast such weights
    return ops.where(ignored, ops.zeros_like(indices), indices)


def weights_of(y_pred: Tensor, sample_weight: Any, dtype: str) -> Tensor:
    """Return sample weight times mask (or 1) of each position, in the shape of `y_pred` without its last axis."""
    weights = ops.ones_like(ops.cast(y_pred[..., 0], dtype))
    for given in (sample_weight, mask_of(y_pred)):
        if given is not None:
            weights = weights * _with_rank(ops.cast(ops.convert_to_tensor(given), dtype), len(weights.shape))
    return weights


def _with_rank(weight: Tensor, rank: int) -> Tensor:
    """Return weights of samples or positions with `rank` axes; weights with more axes are returned unchanged."""
    if len(weight.shape) == rank + 1 and weight.shape[-1] == 1:
        return ops.squeeze(weight, axis=-1)
    while len(weight.shape) < rank:
        weight = ops.expand_dims(weight, axis=-1)
    return weight


def _class_indices(y_true: Tensor, y_pred: Tensor) -> Tensor:
    indices = ops.squeeze(y_true, axis=-1) if len(y_true.shape) == len(y_pred.shape) else y_true
    dtype = keras.backend.standardize_dtype(indices.dtype)
    return indices if "float" in dtype else ops.cast(indices, "int32")
