"""Logits scaled and shifted by class: multiplicative and additive adjustment in one loss."""

from typing import Any

import keras
import numpy as np
from keras import ops

from tailfit.arguments import REQUIRED, checked_class_counts, checked_flag, checked_number
from tailfit.hyperparameters import followed
from tailfit.losses._base import ClassificationLoss
from tailfit.losses._numerics import class_constant, prepare, soft_cross_entropy
from tailfit.losses.logit_adjusted import checked_tau, log_shares
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
    """Per-sample values of `VectorScaling`, which see.

    >>> value = vector_scaling([1], [[0.0, 0.0]], [3, 1], from_logits=True)
    >>> round(float(value[0]), 4)  # ln 4: of logits of 0 only the shift is left
    1.3863
    """
    gamma, tau = _checked_gamma(gamma), checked_tau(tau)
    shares = log_shares(class_counts)
    targets, logits = prepare(y_true, y_pred, from_logits=checked_flag(from_logits))
    # log(n / n_max): times gamma, which may be a variable, the logarithm of the factor.
    fraction = class_constant(tuple(shares - np.max(shares)), logits, "class_counts")
    log_prior = class_constant(tuple(shares), logits, "class_counts")
    return soft_cross_entropy(targets, logits * ops.exp(gamma * fraction) + tau * log_prior)


@keras.saving.register_keras_serializable(package="tailfit")
class VectorScaling(ClassificationLoss):
    """Cross-entropy of `z (n / n_max) ** gamma + tau log(share of the class)`.

    The factor, not the shift, keeps its effect on networks trained until every training sample is right.

    Args:
        class_counts: C counts > 0 of the stream as sampled and weighted, or what has them (`batches`).
        gamma: Strength of the factor, >= 0, or a schedule of it. 0 is `LogitAdjusted`.
        tau: Strength of the shift, >= 0, or a schedule of it. 0 is the class-dependent temperature alone.
        from_logits: Whether `y_pred` are logits. Of probabilities z is log p, and z + 1 for all classes is then another
            z for this loss: prefer logits. No default: leaving it out is an `ArgumentError`.
        name, reduction, dtype: As in `keras.losses.Loss`.
    Shapes: `y_true` codes `(batch, ...)` or `(batch, ..., 1)`, or one-hot or soft `(batch, ..., C)`; `y_pred`
        `(batch, ..., C)`; per-sample loss `(batch, ...)` in nats.
    Raises:
        ArgumentError: at once for a class without a sample or a value out of range; at the first call where
            the network has another number of classes.
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
        self.gamma = followed(gamma, _checked_gamma, name="gamma", dtype=self.dtype)
        self.tau = followed(tau, checked_tau, name="tau", dtype=self.dtype)


def _checked_gamma(gamma: Any) -> Any:
    return checked_number(gamma, "gamma", fix="use gamma=0 for no factor, 0.3 as the authors do for a long tail")
