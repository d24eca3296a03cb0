"""Focal loss over independent labels."""

from typing import Any

import keras

from tailfit.arguments import REQUIRED, checked_flag, checked_number
from tailfit.losses._binary import MultiLabelLoss, binary_sum, prepare_labels
from tailfit.losses.focal_loss import checked_gamma
from tailfit.schedules import Schedule
from tailfit.targets import Tensor

__all__ = ["BinaryFocal", "binary_focal"]


def binary_focal(
    y_true: Tensor,
    y_pred: Tensor,
    *,
    gamma: float = 2.0,
    alpha: float | None = 0.25,
    from_logits: bool = REQUIRED,
) -> Tensor:
    """Return the per-sample values of `BinaryFocal`.

    >>> value = binary_focal([[1, 0]], [[0.0, 0.0]], alpha=None, from_logits=True)
    >>> round(float(value[0]), 4)  # twice ln(2) / 4
    0.3466
    """
    gamma, alpha = checked_gamma(gamma), _checked_alpha(alpha)
    targets, logits = prepare_labels(y_true, y_pred, from_logits=checked_flag(from_logits))
    present, absent = (1.0, 1.0) if alpha is None else (alpha, 1.0 - alpha)
    return binary_sum(logits, targets, present=present, absent=absent, gamma=gamma)


@keras.saving.register_keras_serializable(package="tailfit")
class BinaryFocal(MultiLabelLoss):
    """Binary cross-entropy of each label times `alpha_t (1 - p_t) ** gamma`, summed over the labels.

    For a label that is present, p_t is its probability p and alpha_t is alpha; for an absent one, p_t is 1 - p and
    alpha_t is 1 - alpha. A soft label weights both terms.

    Args:
        gamma: Focusing exponent, >= 0, or a schedule. At 0 this is binary cross-entropy.
        alpha: Weight of present labels, in [0, 1], or a schedule. None gives present and absent labels the weight 1.
        from_logits: Whether `y_pred` are logits. Required: omitting it raises `ArgumentError`.
        name, reduction, dtype: As in `keras.losses.Loss`.
    Shapes: `y_true` `(batch, ..., C)` or `(batch, ...)`, `y_pred` `(batch, ..., C)`; loss `(batch, ...)`, in nats.
    Raises:
        ArgumentError: If an option is out of range; when called, if shapes do not match.
    Source: Lin et al. 2017, arXiv:1708.02002, eq. 5.

    >>> loss = BinaryFocal(from_logits=True)
    >>> round(float(loss([[0, 0, 1]], [[2.0, 0.5, -1.0]])), 4)
    1.6961
    """

    function = staticmethod(binary_focal)

    def __init__(
        self,
        *,
        gamma: float | Schedule = 2.0,
        alpha: float | Schedule | None = 0.25,
        from_logits: bool = REQUIRED,
        name: str | None = "binary_focal",
        reduction: str | None = "sum_over_batch_size",
        dtype: Any = None,
    ) -> None:
        super().__init__(from_logits=from_logits, name=name, reduction=reduction, dtype=dtype)
        self.gamma = self._schedulable("gamma", gamma, checked_gamma)
        self.alpha = self._schedulable("alpha", alpha, _checked_alpha)


def _checked_alpha(alpha: Any) -> Any:
    fix = "use None to give present and absent labels the same weight"
    return None if alpha is None else checked_number(alpha, "alpha", most=1.0, fix=fix)
