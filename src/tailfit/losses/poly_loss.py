"""PolyLoss: cross-entropy as a power series in 1 - p, with an adjustable first coefficient."""

from typing import Any

import keras

from tailfit.arguments import REQUIRED, checked_flag, checked_number
from tailfit.losses._base import ClassificationLoss
from tailfit.losses._numerics import one_minus_exp, prepare
from tailfit.schedules import Schedule
from tailfit.targets import Tensor

__all__ = ["Poly1", "poly1"]


def poly1(y_true: Tensor, y_pred: Tensor, *, epsilon: float = 1.0, from_logits: bool = REQUIRED) -> Tensor:
    """Return the per-sample values of `Poly1`.

    >>> value = poly1([1], [[0.0, 0.0]], epsilon=2.0, from_logits=True)
    >>> round(float(value[0]), 4)  # ln 2 + 2 / 2
    1.6931
    """
    epsilon = _checked_epsilon(epsilon)
    labels, logits = prepare(y_true, y_pred, from_logits=checked_flag(from_logits))
    log_p = labels.log_softmax(logits)
    return labels.sum(epsilon * one_minus_exp(log_p) - log_p)


@keras.saving.register_keras_serializable(package="tailfit")
class Poly1(ClassificationLoss):
    """`CE + epsilon (1 - p_t)`.

    Cross-entropy is `sum_j (1 - p_t)^j / j`. Here the first term, which dominates late in the training, is multiplied
    by 1 + epsilon. The loss of a soft label is the weighted mean over its classes.

    Args:
        epsilon: Change of the first coefficient, >= -1, or a schedule. With 0 this is cross-entropy; negative values
            reduce the gradient of samples that are predicted correctly.
        from_logits: Whether `y_pred` are logits. Required: omitting it raises `ArgumentError`.
        name, reduction, dtype: As in `keras.losses.Loss`.
    Shapes: `y_true` `(batch, ...)` or `(batch, ..., C)`, `y_pred` `(batch, ..., C)`; loss `(batch, ...)`, in nats.
    Raises:
        ArgumentError: If an option is out of range; when called, if shapes do not match.
    Source: Leng et al. 2022, arXiv:2204.12511, eq. 6.

    >>> loss = Poly1(from_logits=True)
    >>> round(float(loss([2], [[2.0, 0.5, -1.0]])), 4)
    4.2022
    """

    function = staticmethod(poly1)

    def __init__(
        self,
        *,
        epsilon: float | Schedule = 1.0,
        from_logits: bool = REQUIRED,
        name: str | None = "poly1",
        reduction: str | None = "sum_over_batch_size",
        dtype: Any = None,
    ) -> None:
        super().__init__(from_logits=from_logits, name=name, reduction=reduction, dtype=dtype)
        self.epsilon = self._schedulable("epsilon", epsilon, _checked_epsilon)


def _checked_epsilon(epsilon: Any) -> Any:
    return checked_number(epsilon, "epsilon", least=-1.0, fix="use 0 for cross-entropy, or 1 or 2 for most problems")
