"""Robust losses between cross-entropy and the mean absolute error.

A sample with a wrong label looks like a badly misclassified one. There the gradient of cross-entropy is largest, so
the network eventually memorises wrong labels. The mean absolute error is bounded and ignores such samples, but trains
slowly. The exponent q interpolates between the two.
"""

from typing import Any

import keras

from tailfit.arguments import REQUIRED, checked_flag, checked_number
from tailfit.losses._base import ClassificationLoss
from tailfit.losses._numerics import one_minus_exp, prepare
from tailfit.schedules import Schedule
from tailfit.targets import Tensor

__all__ = ["GeneralizedCrossEntropy", "MeanAbsolute", "generalized_cross_entropy", "mean_absolute"]


def generalized_cross_entropy(
    y_true: Tensor, y_pred: Tensor, *, q: float = 0.7, from_logits: bool = REQUIRED
) -> Tensor:
    """Return the per-sample values of `GeneralizedCrossEntropy`.

    >>> value = generalized_cross_entropy([1], [[0.0, 0.0]], q=1.0, from_logits=True)
    >>> round(float(value[0]), 4)  # 1 - p
    0.5
    """
    q = _checked_q(q)
    labels, logits = prepare(y_true, y_pred, from_logits=checked_flag(from_logits))
    # Not (1 - p ** q) / q, which loses all digits near p = 1; and the gradient of p ** q is infinite at p = 0.
    return labels.sum(one_minus_exp(q * labels.log_softmax(logits)) / q)


def mean_absolute(y_true: Tensor, y_pred: Tensor, *, from_logits: bool = REQUIRED) -> Tensor:
    """Return the per-sample values of `MeanAbsolute`.

    >>> value = mean_absolute([1], [[0.0, 0.0]], from_logits=True)
    >>> round(float(value[0]), 4)
    0.5
    """
    return generalized_cross_entropy(y_true, y_pred, q=1.0, from_logits=from_logits)


@keras.saving.register_keras_serializable(package="tailfit")
class GeneralizedCrossEntropy(ClassificationLoss):
    """`(1 - p_t ** q) / q`: the mean absolute error (robust) at q = 1, cross-entropy (not robust) in the limit q -> 0.

    The loss of a soft label is the weighted mean over its classes.

    Args:
        q: Exponent in (0, 1], or a schedule. The larger it is, the smaller is the effect of labels with a low predicted
            probability.
        from_logits: Whether `y_pred` are logits. Required: omitting it raises `ArgumentError`.
        name, reduction, dtype: As in `keras.losses.Loss`.
    Shapes: `y_true` is class indices `(batch, ...)` or `(batch, ..., 1)`, or one-hot or soft labels `(batch, ..., C)`;
        `y_pred` is `(batch, ..., C)`; the per-sample loss is `(batch, ...)`, at most 1 / q.
    Raises:
        ArgumentError: If an option is out of range; when called, if shapes do not match.
    Source: Zhang & Sabuncu 2018, arXiv:1805.07836, eq. 6.

    >>> loss = GeneralizedCrossEntropy(q=0.7, from_logits=True)
    >>> round(float(loss([2], [[2.0, 0.5, -1.0]])), 4)
    1.2808
    """

    function = staticmethod(generalized_cross_entropy)

    def __init__(
        self,
        *,
        q: float | Schedule = 0.7,
        from_logits: bool = REQUIRED,
        name: str | None = "generalized_cross_entropy",
        reduction: str | None = "sum_over_batch_size",
        dtype: Any = None,
    ) -> None:
        super().__init__(from_logits=from_logits, name=name, reduction=reduction, dtype=dtype)
        self.q = self._schedulable("q", q, _checked_q)


@keras.saving.register_keras_serializable(package="tailfit")
class MeanAbsolute(ClassificationLoss):
    """`1 - p_t`, half the absolute error between the probabilities and a one-hot label.

    Args:
        from_logits: Whether `y_pred` are logits. Required: omitting it raises `ArgumentError`.
        name, reduction, dtype: As in `keras.losses.Loss`.
    Shapes: `y_true` is class indices `(batch, ...)` or `(batch, ..., 1)`, or one-hot or soft labels `(batch, ..., C)`;
        `y_pred` is `(batch, ..., C)`; the per-sample loss is `(batch, ...)` in [0, 1].
    Raises:
        ArgumentError: If shapes do not match.
    Source: Ghosh et al. 2017, arXiv:1712.09482, eq. 8, scaled as in Ma et al. 2020, arXiv:2006.13554.

    >>> loss = MeanAbsolute(from_logits=True)
    >>> round(float(loss([1], [[1.0, 1.0, 1.0]])), 4)
    0.6667
    """

    function = staticmethod(mean_absolute)

    def __init__(
        self,
        *,
        from_logits: bool = REQUIRED,
        name: str | None = "mean_absolute",
        reduction: str | None = "sum_over_batch_size",
        dtype: Any = None,
    ) -> None:
        super().__init__(from_logits=from_logits, name=name, reduction=reduction, dtype=dtype)


def _checked_q(q: Any) -> Any:
    fix = "use 0.7 as the authors do, or CrossEntropy for the limit q=0"
    return checked_number(q, "q", above=0.0, most=1.0, fix=fix)
