"""Focal losses: cross-entropy that spends its gradient on hard samples."""

from collections.abc import Mapping, Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from tailfit.arguments import REQUIRED, checked_flag, checked_number, checked_per_class
from tailfit.hyperparameters import followed
from tailfit.losses._base import ClassificationLoss
from tailfit.losses._numerics import class_constant, labelled_log_softmax, log_one_minus_exp, prepare
from tailfit.schedules import Schedule
from tailfit.targets import Tensor

__all__ = ["Focal", "checked_gamma", "focal"]

Alpha = float | Sequence[float] | Mapping[int, float] | None


def focal(
    y_true: Tensor, y_pred: Tensor, *, from_logits: bool = REQUIRED, gamma: float = 2.0, alpha: Alpha = None
) -> Tensor:
    """Per-sample values of `Focal`, which see.

    >>> value = focal([1], [[0.0, 0.0]], from_logits=True, gamma=2.0)
    >>> round(float(value[0]), 4)  # ln(2) / 4
    0.1733
    """
    gamma = checked_gamma(gamma)
    weight = _checked_alpha(alpha)
    targets, logits = prepare(y_true, y_pred, from_logits=checked_flag(from_logits))
    log_p = labelled_log_softmax(targets, logits)
    # Weights scale the labels, never the probabilities: inside p they would change which samples are hard.
    if len(np.shape(weight)) == 1:
        targets = targets * class_constant(weight, logits, "alpha")
    elif weight is not None:
        targets = targets * weight
    return -ops.sum(targets * ops.exp(gamma * log_one_minus_exp(log_p)) * log_p, axis=-1)


@keras.saving.register_keras_serializable(package="tailfit")
class Focal(ClassificationLoss):
    """Softmax cross-entropy times `(1 - p) ** gamma`: `-sum_k alpha_k y_k (1 - p_k) ** gamma log p_k`.

    Soft labels weigh each class' own term, so every class is judged by its own probability.

    Args:
        gamma: Focusing exponent, >= 0, or a schedule of it. At 0 this is cross-entropy; below 1 its slope stays finite.
        alpha: A weight for all classes, or one a class (a sequence or `{code: weight}`), or a schedule; None is 1.
        from_logits: Whether `y_pred` are logits. No default: leaving it out is an `ArgumentError`.
        name, reduction, dtype: As in `keras.losses.Loss`.
    Shapes: `y_true` codes `(batch, ...)` or `(batch, ..., 1)`, or one-hot or soft `(batch, ..., C)`; `y_pred`
        `(batch, ..., C)`; per-sample loss `(batch, ...)` in nats. A code outside [0, C) gives NaN, unless its
        sample weight is 0.
    Raises:
        ArgumentError: at once for a value out of range; at the first call for shapes that do not fit.
    Source: Lin et al. 2017, arXiv:1708.02002, eq. 4 and 5, with softmax in place of the sigmoid.

    >>> loss = Focal(gamma=2.0, from_logits=True)
    >>> round(float(loss([2], [[2.0, 0.5, -1.0]])), 4)
    2.9927
    """

    function = staticmethod(focal)

    def __init__(
        self,
        *,
        gamma: float | Schedule = 2.0,
        alpha: Alpha | Schedule = None,
        from_logits: bool = REQUIRED,
        name: str | None = "focal",
        reduction: str | None = "sum_over_batch_size",
        dtype: Any = None,
    ) -> None:
        super().__init__(from_logits=from_logits, name=name, reduction=reduction, dtype=dtype)
        self.gamma = followed(gamma, checked_gamma, name="gamma", dtype=self.dtype)
        self.alpha = followed(alpha, _checked_alpha, name="alpha", dtype=self.dtype)


def _checked_alpha(alpha: Any) -> Any:
    if isinstance(alpha, keras.Variable):
        return alpha
    if isinstance(alpha, Mapping) or getattr(alpha, "__len__", None) is not None:
        return checked_per_class(alpha, "alpha")
    return None if alpha is None else checked_number(alpha, "alpha", fix="leave it out for no weight")


def checked_gamma(gamma: Any) -> Any:
    """A focusing exponent >= 0."""
    return checked_number(gamma, "gamma", fix="use gamma=0 for cross-entropy, 2 as the authors do")
