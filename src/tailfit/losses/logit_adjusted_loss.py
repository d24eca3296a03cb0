"""Logit adjustment: cross-entropy on logits shifted by the logarithms of the class shares.

The arg max of a network trained in this way is the Bayes decision for the *balanced* error. The counts must be those of
the training data as sampled and weighted (`batches.class_counts`): the original counts would correct balanced batches
a second time.
"""

from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from tailfit.arguments import REQUIRED, checked_class_counts, checked_flag, checked_number
from tailfit.losses._base import ClassificationLoss
from tailfit.losses._numerics import class_constant, prepare
from tailfit.schedules import Schedule
from tailfit.targets import Tensor

__all__ = ["BalancedSoftmax", "LogitAdjusted", "balanced_softmax", "checked_tau", "log_shares", "logit_adjusted"]


def logit_adjusted(
    y_true: Tensor, y_pred: Tensor, class_counts: Any, *, tau: float = 1.0, from_logits: bool = REQUIRED
) -> Tensor:
    """Return the per-sample values of `LogitAdjusted`.

    >>> value = logit_adjusted([1], [[0.0, 0.0]], [3, 1], from_logits=True)
    >>> round(float(value[0]), 4)  # ln 4: the class has a quarter of the samples
    1.3863
    """
    tau, counts = checked_tau(tau), checked_class_counts(class_counts)
    labels, logits = prepare(y_true, y_pred, from_logits=checked_flag(from_logits))
    log_prior = class_constant(counts, logits, "class_counts", log_shares)
    return labels.cross_entropy(logits + tau * log_prior)


def balanced_softmax(y_true: Tensor, y_pred: Tensor, class_counts: Any, *, from_logits: bool = REQUIRED) -> Tensor:
    """Return the per-sample values of `BalancedSoftmax`.

    >>> value = balanced_softmax([1], [[0.0, 0.0]], [3, 1], from_logits=True)
    >>> round(float(value[0]), 4)
    1.3863
    """
    # log(counts) and log(shares) differ by the same constant for all classes, which the softmax cancels.
    return logit_adjusted(y_true, y_pred, class_counts, tau=1.0, from_logits=from_logits)


@keras.saving.register_keras_serializable(package="tailfit")
class LogitAdjusted(ClassificationLoss):
    """Cross-entropy of `z + tau log(share of the class)`.

    Args:
        class_counts: C counts > 0 of the data as sampled and weighted, or an object with `class_counts` (`batches`).
        tau: Strength, >= 0, or a schedule. 0 is cross-entropy; 1 minimises the balanced error.
        from_logits: Whether `y_pred` are logits. Required: omitting it raises `ArgumentError`.
        name, reduction, dtype: As in `keras.losses.Loss`.
    Shapes: `y_true` `(batch, ...)` or `(batch, ..., C)`, `y_pred` `(batch, ..., C)`; loss `(batch, ...)`, in nats.
    Raises:
        ArgumentError: If a count is not > 0 or an option is out of range; when called, if shapes do not match or the
            number of classes differs.
    Source: Menon et al. 2021, arXiv:2007.07314, eq. 10.

    >>> loss = LogitAdjusted([1000, 100, 10], tau=1.0, from_logits=True)
    >>> round(float(loss([2], [[2.0, 0.5, -1.0]])), 4)
    7.6277
    """

    function = staticmethod(logit_adjusted)

    def __init__(
        self,
        class_counts: Any,
        *,
        tau: float | Schedule = 1.0,
        from_logits: bool = REQUIRED,
        name: str | None = "logit_adjusted",
        reduction: str | None = "sum_over_batch_size",
        dtype: Any = None,
    ) -> None:
        super().__init__(from_logits=from_logits, name=name, reduction=reduction, dtype=dtype)
        self.class_counts = checked_class_counts(class_counts)
        self.tau = self._schedulable("tau", tau, checked_tau)


@keras.saving.register_keras_serializable(package="tailfit")
class BalancedSoftmax(ClassificationLoss):
    """Cross-entropy of `z + log(count of the class)`; equal to `LogitAdjusted(tau=1)`.

    Args:
        class_counts: C counts > 0 of the data as sampled and weighted, or an object with `class_counts` (`batches`).
        from_logits: Whether `y_pred` are logits. Required: omitting it raises `ArgumentError`.
        name, reduction, dtype: As in `keras.losses.Loss`.
    Shapes: `y_true` `(batch, ...)` or `(batch, ..., C)`, `y_pred` `(batch, ..., C)`; loss `(batch, ...)`, in nats.
    Raises:
        ArgumentError: If a count is not > 0; when called, if shapes do not match or the number of classes differs.
    Source: Ren et al. 2020, arXiv:2007.10740, eq. 3.

    >>> loss = BalancedSoftmax([1000, 100, 10], from_logits=True)
    >>> round(float(loss([2], [[2.0, 0.5, -1.0]])), 4)
    7.6277
    """

    function = staticmethod(balanced_softmax)

    def __init__(
        self,
        class_counts: Any,
        *,
        from_logits: bool = REQUIRED,
        name: str | None = "balanced_softmax",
        reduction: str | None = "sum_over_batch_size",
        dtype: Any = None,
    ) -> None:
        super().__init__(from_logits=from_logits, name=name, reduction=reduction, dtype=dtype)
        self.class_counts = checked_class_counts(class_counts)


def log_shares(counts: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the logarithm of each class' share, `float64[C]`."""
    # In float64 and log space: a power of a rare class' share could underflow.
    shares: NDArray[np.float64] = np.log(counts) - np.log(counts.sum())
    return shares


def checked_tau(tau: Any) -> Any:
    """Check a strength of the adjustment, >= 0."""
    return checked_number(tau, "tau", fix="use tau=0 for cross-entropy, or 1 for the balanced error")
