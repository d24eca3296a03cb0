"""Symmetric cross-entropy: cross-entropy plus the reverse cross-entropy, with label and prediction swapped."""

import math
from typing import Any

import keras

from tailfit.arguments import REQUIRED, checked_flag, checked_number
from tailfit.losses._base import ClassificationLoss
from tailfit.losses._numerics import one_minus_exp, prepare
from tailfit.schedules import Schedule
from tailfit.targets import Tensor

__all__ = ["SymmetricCrossEntropy", "symmetric_cross_entropy"]

_LOG_ZERO = math.log(1e-4)


def symmetric_cross_entropy(
    y_true: Tensor,
    y_pred: Tensor,
    *,
    alpha: float = 0.1,
    beta: float = 1.0,
    A: float = _LOG_ZERO,  # noqa: N803  # as in the paper
    from_logits: bool = REQUIRED,
) -> Tensor:
    """Return the per-sample values of `SymmetricCrossEntropy`.

    >>> value = symmetric_cross_entropy([1], [[0.0, 0.0]], alpha=1.0, beta=1.0, A=-4.0, from_logits=True)
    >>> round(float(value[0]), 4)  # ln 2 + 4 / 2
    2.6931
    """
    alpha, beta, log_zero = _checked_weight(alpha, "alpha"), _checked_weight(beta, "beta"), _checked_log_zero(A)
    labels, logits = prepare(y_true, y_pred, from_logits=checked_flag(from_logits))
    log_p = labels.log_softmax(logits)
    return labels.sum(-beta * log_zero * one_minus_exp(log_p) - alpha * log_p)


@keras.saving.register_keras_serializable(package="tailfit")
class SymmetricCrossEntropy(ClassificationLoss):
    """`alpha CE + beta RCE`; the reverse cross-entropy RCE, `-sum_k p_k log y_k` with log 0 = A, is `-A (1 - p_t)`.

    The first term trains fast; the second is bounded and robust to wrong labels. The loss of a soft label is the
    weighted mean over its classes.

    Args:
        alpha: Weight of cross-entropy, >= 0, or a schedule. Use smaller values for noisier labels.
        beta: Weight of the reverse cross-entropy, >= 0, or a schedule.
        A: Value used for log 0, <= 0.
        from_logits: Whether `y_pred` are logits. Required: omitting it raises `ArgumentError`.
        name, reduction, dtype: As in `keras.losses.Loss`.
    Shapes: `y_true` `(batch, ...)` or `(batch, ..., C)`, `y_pred` `(batch, ..., C)`; loss `(batch, ...)`, in nats.
    Raises:
        ArgumentError: If an option is out of range; when called, if shapes do not match.
    Source: Wang et al. 2019, arXiv:1908.06112, eq. 5 to 7. A = log 1e-4 is from the authors' code.

    >>> loss = SymmetricCrossEntropy(from_logits=True)
    >>> round(float(loss([2], [[2.0, 0.5, -1.0]])), 4)
    9.1742
    """

    function = staticmethod(symmetric_cross_entropy)

    def __init__(
        self,
        *,
        alpha: float | Schedule = 0.1,
        beta: float | Schedule = 1.0,
        A: float = _LOG_ZERO,  # noqa: N803
        from_logits: bool = REQUIRED,
        name: str | None = "symmetric_cross_entropy",
        reduction: str | None = "sum_over_batch_size",
        dtype: Any = None,
    ) -> None:
        super().__init__(from_logits=from_logits, name=name, reduction=reduction, dtype=dtype)
        self.alpha = self._schedulable("alpha", alpha, lambda value: _checked_weight(value, "alpha"))
        self.beta = self._schedulable("beta", beta, lambda value: _checked_weight(value, "beta"))
        self.A = _checked_log_zero(A)


def _checked_weight(value: Any, name: str) -> Any:
    fix = "use alpha=0.1 and beta=1 as the authors do, or alpha=1 and beta=0 for cross-entropy"
    return checked_number(value, name, fix=fix)


def _checked_log_zero(log_zero: Any) -> Any:
    return checked_number(log_zero, "A", least=-math.inf, most=0.0, fix="use -9.21 (the logarithm of 1e-4) or -4")
