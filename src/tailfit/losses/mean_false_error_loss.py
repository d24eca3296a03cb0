"""Mean false error: the sum of the classes' mean losses, in which all classes of a batch have the same weight."""

from typing import Any, Literal

import keras
from keras import ops

from tailfit.arguments import REQUIRED, checked_choice, checked_flag
from tailfit.losses._base import ClassificationLoss
from tailfit.losses._labels import Labels
from tailfit.losses._numerics import prepare
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
    """Return the per-sample values of `MeanFalseError`, whose mean is the loss of the batch.

    >>> value = mean_false_error([0, 0, 1], [[0.0, 0.0]] * 3, from_logits=True)
    >>> [round(float(part), 4) for part in value]  # the mean is 2 ln 2; the two samples of class 0 make up half of it
    [1.0397, 1.0397, 2.0794]
    """
    squared, base = checked_choice(squared, "squared", (True, False)), checked_choice(base, "base", _BASES)
    y_pred = with_shape(y_pred)
    labels, logits = prepare(y_true, y_pred, from_logits=checked_flag(from_logits))
    dtype = keras.backend.standardize_dtype(logits.dtype)
    weights, valid = weights_of(y_pred, sample_weight, dtype), weights_of(y_pred, None, dtype)
    return _parts(labels, logits, weights, valid, squared=squared, base=base)


def _parts(labels: Labels, logits: Tensor, weights: Tensor, valid: Tensor, *, squared: bool, base: Base) -> Tensor:
    """Return the contribution of each position to the loss, times the number of valid positions."""
    if base == "squared_error":
        p = ops.softmax(logits, axis=-1)
        half = 0.5 * (ops.sum(ops.square(p), axis=-1, keepdims=not labels.is_indices) + 1.0)
        errors = half - labels.of(p)  # 1/2 |p - one_hot(c)|^2 of each labelled c
    else:
        errors = -labels.log_softmax(logits)
    weights = labels.of_samples(weights)
    total = labels.class_sums(weights)
    shares = weights / ops.where(total == 0, 1.0, total)
    if squared:
        errors = errors * labels.class_sums(shares * errors)
    return ops.sum(valid) * labels.sum(shares * errors)


@keras.saving.register_keras_serializable(package="tailfit")
class MeanFalseError(ClassificationLoss):
    """Sum over the classes of the mean loss of the class' samples in the batch, or of the square of this mean.

    This is a loss of the whole batch. Sample weights are applied within the means, so they only change the relative
    weights of samples of the same class. Classes that are not in the batch add nothing. Without reduction, the values
    of the samples are scaled so that their mean is the loss; "sum" is their sum, and every other reduction is the loss
    itself. With `steps.Accumulate`, each part of a batch is a batch of its own.

    Args:
        squared: Whether to square the mean of each class, which gives classes with a larger loss larger gradients.
        base: Loss of a sample: "cross_entropy", or "squared_error" as in the paper (half the squared distance between
            probabilities and label).
        from_logits: Whether `y_pred` are logits. Required: omitting it raises `ArgumentError`.
        name, reduction, dtype: As in `keras.losses.Loss`.
    Shapes: `y_true` `(batch, ...)` or `(batch, ..., C)`, `y_pred` `(batch, ..., C)`; loss `(batch, ...)`, in nats.
    Raises:
        ArgumentError: If an option is out of range; when called, if shapes do not match.
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

    def reduced(self, labels: Any, y_pred: Tensor, sample_weight: Tensor) -> Tensor:
        # Pass the weights with the labels: as sample weights, Keras would apply them a second time, outside the means.
        weights, valid = weights_of(y_pred, sample_weight, self.dtype), weights_of(y_pred, None, self.dtype)
        return super().reduced((labels, weights, valid), y_pred, None)

    def call(self, y_true: Tensor, y_pred: Tensor) -> Tensor:
        labels, logits = prepare(y_true[0], y_pred, from_logits=self.from_logits)
        weights, valid = (ops.cast(part, logits.dtype) for part in y_true[1:])
        return _parts(labels, logits, weights, valid, squared=self.squared, base=self.base)
