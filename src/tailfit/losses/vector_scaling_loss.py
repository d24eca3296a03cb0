"""Vector-scaling loss: logits are scaled and shifted by class, a multiplicative and an additive adjustment."""

from typing import Any

import keras
import numpy as np
from keras import ops

from tailfit.arguments import REQUIRED, checked_class_counts, checked_flag, checked_number
from tailfit.losses._base import ClassificationLoss
from tailfit.losses._numerics import class_constant, prepare
from tailfit.losses.logit_adjusted_loss import checked_tau, log_shares
from tailfit.schedules import Schedule
from tailfit.targets import Tensor

__all__ = ["VectorScaling", "vector_scaling"]


def vector_scaling(
    y_true: Tensor,
    y_pred: Tensor,
    class_counts: Any,
    *,
    gamma: float = 0.3,
    tau: float = 1.0,
    from_logits: bool = REQUIRED,
) -> Tensor:
    """Return the per-sample values of `VectorScaling`.

    >>> value = vector_scaling([1], [[0.0, 0.0]], [3, 1], from_logits=True)
    >>> round(float(value[0]), 4)  # ln 4: for logits of 0 only the shift has an effect
    1.3863
    """
    gamma, tau, counts = _checked_gamma(gamma), checked_tau(tau), checked_class_counts(class_counts)
    labels, logits = prepare(y_true, y_pred, from_logits=checked_flag(from_logits))
    # The factor (n / n_max) ** gamma is exp(gamma * log(n / n_max)), since gamma may be a variable.
    log_fraction = class_constant(counts, logits, "class_counts", _log_fractions)
    log_prior = class_constant(counts, logits, "class_counts", log_shares)
    return labels.cross_entropy(logits * ops.exp(gamma * log_fraction) + tau * log_prior)


def _log_fractions(counts: Any) -> Any:
    return np.log(counts) - np.log(counts.max())


@keras.saving.register_keras_serializable(package="tailfit")
class VectorScaling(ClassificationLoss):
    """Cross-entropy of `z (n / n_max) ** gamma + tau log(share of the class)`.

    The shift loses its effect on networks that are trained until they fit every training sample; the factor does not.
    (`tailfit.posthoc.VectorScaling` is a different method of the same name: a calibration after training.)

    Args:
        class_counts: C counts > 0 of the data as sampled and weighted, or an object with `class_counts` (`batches`).
        gamma: Strength of the factor, >= 0, or a schedule. With 0 this is `LogitAdjusted`.
        tau: Strength of the shift, >= 0, or a schedule. With 0 only the class-dependent temperature is left.
        from_logits: Whether `y_pred` are logits. Prefer logits: for probabilities z is log p, which differs from the
            logits by a constant that changes this loss. Required: omitting it raises `ArgumentError`.
        name, reduction, dtype: As in `keras.losses.Loss`.
    Shapes: `y_true` `(batch, ...)` or `(batch, ..., C)`, `y_pred` `(batch, ..., C)`; loss `(batch, ...)`, in nats.
    Raises:
        ArgumentError: If a count is not > 0 or an option is out of range; when called, if shapes do not match or the
            number of classes differs.
    Source: Kini et al. 2021, arXiv:2103.01550, eq. 2.

    >>> loss = VectorScaling([1000, 100, 10], from_logits=True)
    >>> round(float(loss([2], [[2.0, 0.5, -1.0]])), 4)
    6.8746
    """

    function = staticmethod(vector_scaling)

    def __init__(
        self,
        class_counts: Any,
        *,
        gamma: float | Schedule = 0.3,
        tau: float | Schedule = 1.0,
        from_logits: bool = REQUIRED,
        name: str | None = "vector_scaling",
        reduction: str | None = "sum_over_batch_size",
        dtype: Any = None,
    ) -> None:
        super().__init__(from_logits=from_logits, name=name, reduction=reduction, dtype=dtype)
        self.class_counts = checked_class_counts(class_counts)
        self.gamma = self._schedulable("gamma", gamma, _checked_gamma)
        self.tau = self._schedulable("tau", tau, checked_tau)


def _checked_gamma(gamma: Any) -> Any:
    return checked_number(gamma, "gamma", fix="use gamma=0 to disable the factor, or 0.3 as the authors do")
