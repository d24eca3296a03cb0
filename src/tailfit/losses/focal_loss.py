"""Focal loss: cross-entropy that concentrates its gradient on hard samples."""

from collections.abc import Mapping, Sequence
from typing import Any

import keras
import numpy as np

from tailfit.arguments import REQUIRED, checked_flag, checked_number, checked_per_class
from tailfit.losses._base import ClassificationLoss
from tailfit.losses._numerics import class_constant, focus, prepare
from tailfit.schedules import Schedule
from tailfit.targets import Tensor

__all__ = ["Focal", "checked_gamma", "focal"]

Alpha = float | Sequence[float] | Mapping[int, float] | None


def focal(
    y_true: Tensor, y_pred: Tensor, *, from_logits: bool = REQUIRED, gamma: float = 2.0, alpha: Alpha = None
) -> Tensor:
    """Return the per-sample values of `Focal`.

    >>> value = focal([1], [[0.0, 0.0]], from_logits=True, gamma=2.0)
    >>> round(float(value[0]), 4)  # ln(2) / 4
    0.1733
    """
    gamma = checked_gamma(gamma)
    weight = _checked_alpha(alpha)
    labels, logits = prepare(y_true, y_pred, from_logits=checked_flag(from_logits))
    # Weights scale the labels, not the probabilities, which determine how hard a sample is.
    if len(np.shape(weight)) == 1:
        labels = labels.weighted(class_constant(weight, logits, "alpha"))
    elif weight is not None:
        labels = labels.weighted(weight)
    log_p = labels.log_softmax(logits)
    return -labels.sum(focus(log_p, gamma) * log_p)


@keras.saving.register_keras_serializable(package="tailfit")
class Focal(ClassificationLoss):
    """Softmax cross-entropy times `(1 - p) ** gamma`: `-sum_k alpha_k y_k (1 - p_k) ** gamma log p_k`.

    A soft label weights the terms of its classes; each term depends on the probability of its own class.

    Args:
        gamma: Focusing exponent, >= 0, or a schedule. With 0 this is cross-entropy. The gradient is finite for all
            values, also below 1.
        alpha: One weight for all classes, or one per class (a sequence or a dict `{class index: weight}`), or a
            schedule. None is 1.
        from_logits: Whether `y_pred` are logits. Required: omitting it raises `ArgumentError`.
        name, reduction, dtype: As in `keras.losses.Loss`.
    Shapes: `y_true` `(batch, ...)` or `(batch, ..., C)`, `y_pred` `(batch, ..., C)`; loss `(batch, ...)`, in nats.
    Raises:
        ArgumentError: If an option is out of range; when called, if shapes do not match.
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
        self.gamma = self._schedulable("gamma", gamma, checked_gamma)
        self.alpha = self._schedulable("alpha", alpha, _checked_alpha)


def _checked_alpha(alpha: Any) -> Any:
    if isinstance(alpha, keras.Variable):
        return alpha
    if isinstance(alpha, Mapping) or getattr(alpha, "__len__", None) is not None:
        return checked_per_class(alpha, "alpha")
    return None if alpha is None else checked_number(alpha, "alpha", fix="omit alpha to use no weights")


def checked_gamma(gamma: Any) -> Any:
    """Check a focusing exponent, >= 0."""
    return checked_number(gamma, "gamma", fix="use gamma=0 for cross-entropy, or 2 as the authors do")
