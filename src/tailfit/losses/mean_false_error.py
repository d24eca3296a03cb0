"""The mean loss of each class in the batch, summed: every class that is there pulls alike, however few its samples."""

from typing import Any, Literal

import keras
from keras import ops

from tailfit.arguments import REQUIRED, checked_choice, checked_flag
from tailfit.losses._base import ClassificationLoss
from tailfit.losses._numerics import labelled_log_softmax, prepare
from tailfit.targets import Tensor, weights_of, with_shape

__all__ = ["MeanFalseError", "mean_false_error"]

Base = Literal["cross_entropy", "squared_error"]
_BASES = ("cross_entropy", "squared_error")


def mean_false_error(
    y_true: Tensor,
    y_pred: Tensor,
    sample_weight: Tensor = None,
    *,
    squared: bool = False,
    base: Base = "cross_entropy",
    from_logits: bool = REQUIRED,
) -> Tensor:
    """Per-sample values of `MeanFalseError`, which see; their mean is the loss of the batch.

    >>> value = mean_false_error([0, 0, 1], [[0.0, 0.0]] * 3, from_logits=True)
    >>> [round(float(part), 4) for part in value]  # 2 ln 2 in all: half of it the two samples of class 0 together
    [1.0397, 1.0397, 2.0794]
    """
    squared, base = checked_choice(squared, "squared", (True, False)), checked_choice(base, "base", _BASES)
    y_pred = with_shape(y_pred)
    targets, logits = prepare(y_true, y_pred, from_logits=checked_flag(from_logits))
    dtype = keras.backend.standardize_dtype(logits.dtype)
    weights, valid = weights_of(y_pred, sample_weight, dtype), weights_of(y_pred, None, dtype)
    return _parts(targets, logits, weights, valid, squared=squared, base=base)


def _parts(targets: Tensor, logits: Tensor, weights: Tensor, valid: Tensor, *, squared: bool, base: Base) -> Tensor:
    """Each position's part of the loss, times the number of valid positions."""
    errors = -labelled_log_softmax(targets, logits)
    if base == "squared_error":
        p = ops.softmax(logits, axis=-1)
        errors = 0.5 * (ops.sum(ops.square(p), axis=-1, keepdims=True) + 1.0) - p  # 1/2 |p - one_hot(c)|^2 of each c
    shares = ops.expand_dims(weights, -1) * targets
    axes = tuple(range(len(shares.shape) - 1))
    total = ops.sum(shares, axis=axes)
    shares = shares / ops.where(ops.equal(total, 0), ops.ones_like(total), total)
    if squared:
        errors = errors * ops.sum(shares * errors, axis=axes)
    return ops.sum(valid) * ops.sum(shares * errors, axis=-1)


@keras.saving.register_keras_serializable(package="tailfit")
class MeanFalseError(ClassificationLoss):
    """Sum over classes of the mean loss of the samples of that class in the batch, or of its square.

    A loss of the batch: sample weights are inside the means, so that they weigh the samples of one class among each
    other. A class that is not in the batch adds nothing. Unreduced, each sample has its part, such that their mean is
    the loss; "sum" is their sum, and every other reduction the loss itself. To it the parts of `steps.Accumulate` are
    batches of their own.

    Args:
        squared: Squares the mean of each class: classes that are worse pull harder.
        base: The loss of a sample: "cross_entropy", or "squared_error" as in the paper, half the squared distance
            between probabilities and label.
        from_logits: Whether `y_pred` are logits. No default: leaving it out is an `ArgumentError`.
        name, reduction, dtype: As in `keras.losses.Loss`.
    Shapes: `y_true` codes `(batch, ...)` or `(batch, ..., 1)`, or one-hot or soft `(batch, ..., C)`; `y_pred`
        `(batch, ..., C)`; per-sample loss `(batch, ...)` in nats.
    Raises:
        ArgumentError: at once for a value out of range; at the first call for shapes that do not fit.
    Source: Wang et al. 2016, "Training deep neural networks on imbalanced data sets", IJCNN, eq. 4 to 9.

    >>> loss = MeanFalseError(from_logits=True)
    >>> round(float(loss([2, 2, 1], [[2.0, 0.5, -1.0], [0.2, -0.3, 1.5], [1.0, 1.0, 1.0]])), 4)
    2.9008
    """

    function = staticmethod(mean_false_error)

    def __init__(
        self,
        *,
        squared: bool = False,
        base: Base = "cross_entropy",
        from_logits: bool = REQUIRED,
        name: str | None = "mean_false_error",
        reduction: str | None = "sum_over_batch_size",
        dtype: Any = None,
    ) -> None:
        super().__init__(from_logits=from_logits, name=name, reduction=reduction, dtype=dtype)
        self.squared = checked_choice(squared, "squared", (True, False))
        self.base = checked_choice(base, "base", _BASES)

    def reduced(self, targets: Tensor, y_pred: Tensor, sample_weight: Tensor) -> Tensor:
        # Weights travel beside the labels, for Keras would multiply by them what they are inside of already.
        beside = weights_of(y_pred, sample_weight, self.dtype), weights_of(y_pred, None, self.dtype)
        return super().reduced((targets, *beside), y_pred, None)

    def call(self, y_true: Tensor, y_pred: Tensor) -> Tensor:
        targets, logits = prepare(y_true[0], y_pred, from_logits=self.from_logits)
        weights, valid = (ops.cast(part, logits.dtype) for part in y_true[1:])
        return _parts(targets, logits, weights, valid, squared=self.squared, base=self.base)
