"""Normalised cross-entropy, and its combination with a passive loss.

Any loss divided by its sum over all possible labels is robust to random label noise. Such an "active" loss, which
raises the probability of the label, underfits. Adding a bounded "passive" loss, which lowers the probabilities of the
other classes, compensates for this.
"""

import math
from typing import Any, Literal

import keras
from keras import ops

from tailfit.arguments import REQUIRED, checked_choice, checked_flag, checked_number
from tailfit.losses._base import ClassificationLoss
from tailfit.losses._labels import Labels
from tailfit.losses._numerics import finite, one_minus_exp, prepare
from tailfit.schedules import Schedule
from tailfit.targets import Tensor

__all__ = ["ActivePassive", "NormalizedCrossEntropy", "active_passive", "normalized_cross_entropy"]

Active = Literal["nce", "ce"]
Passive = Literal["mae", "rce"]
_ACTIVE, _PASSIVE = ("nce", "ce"), ("mae", "rce")
_LOG_ZERO = math.log(1e-4)


def normalized_cross_entropy(y_true: Tensor, y_pred: Tensor, *, from_logits: bool = REQUIRED) -> Tensor:
    """Return the per-sample values of `NormalizedCrossEntropy`.

    >>> value = normalized_cross_entropy([1], [[0.0, 0.0]], from_logits=True)
    >>> round(float(value[0]), 4)
    0.5
    """
    labels, logits = prepare(y_true, y_pred, from_logits=checked_flag(from_logits))
    log_p = ops.log_softmax(logits, axis=-1)
    return _normalized(labels, log_p, labels.log_labelled(log_p))


def _normalized(labels: Labels, log_p: Tensor, labelled: Tensor) -> Tensor:
    return labels.sum(labelled) / ops.sum(finite(log_p), axis=-1)


def active_passive(
    y_true: Tensor,
    y_pred: Tensor,
    *,
    a: float = 1.0,
    b: float = 1.0,
    active: Active = "nce",
    passive: Passive = "mae",
    from_logits: bool = REQUIRED,
) -> Tensor:
    """Return the per-sample values of `ActivePassive`.

    >>> value = active_passive([1], [[0.0, 0.0]], a=1.0, b=2.0, from_logits=True)
    >>> round(float(value[0]), 4)  # 0.5 + 2 * 0.5
    1.5
    """
    a, b = _checked_weight(a, "a"), _checked_weight(b, "b")
    active, passive = checked_choice(active, "active", _ACTIVE), checked_choice(passive, "passive", _PASSIVE)
    labels, logits = prepare(y_true, y_pred, from_logits=checked_flag(from_logits))
    if active == "nce":
        log_p = ops.log_softmax(logits, axis=-1)
        labelled = labels.log_labelled(log_p)
        first = _normalized(labels, log_p, labelled)
    else:
        labelled = labels.log_softmax(logits)
        first = -labels.sum(labelled)
    # The reverse cross-entropy is the mean absolute error times -log 0.
    scale = 1.0 if passive == "mae" else -_LOG_ZERO
    return a * first + b * scale * labels.sum(one_minus_exp(labelled))


@keras.saving.register_keras_serializable(package="tailfit")
class NormalizedCrossEntropy(ClassificationLoss):
    """Cross-entropy divided by its sum over all labels, `log p_t / sum_k log p_k`: in [0, 1].

    The loss of a soft label is the weighted mean over its classes. Classes disabled by a logit of -inf are left out.

    Args:
        from_logits: Whether `y_pred` are logits. Required: omitting it raises `ArgumentError`.
        name, reduction, dtype: As in `keras.losses.Loss`.
    Shapes: `y_true` `(batch, ...)` or `(batch, ..., C)`, `y_pred` `(batch, ..., C)`; loss `(batch, ...)`, in nats.
    Raises:
        ArgumentError: If shapes do not match.
    Source: Ma et al. 2020, arXiv:2006.13554, eq. 4.

    >>> loss = NormalizedCrossEntropy(from_logits=True)
    >>> round(float(loss([2], [[2.0, 0.5, -1.0]])), 4)
    0.6205
    """

    function = staticmethod(normalized_cross_entropy)

    def __init__(
        self,
        *,
        from_logits: bool = REQUIRED,
        name: str | None = "normalized_cross_entropy",
        reduction: str | None = "sum_over_batch_size",
        dtype: Any = None,
    ) -> None:
        super().__init__(from_logits=from_logits, name=name, reduction=reduction, dtype=dtype)


@keras.saving.register_keras_serializable(package="tailfit")
class ActivePassive(ClassificationLoss):
    """`a` times an active loss plus `b` times a passive loss.

    Args:
        a: Weight of the active loss, >= 0, or a schedule. The authors use 1 for 10 classes and 10 for 100.
        b: Weight of the passive loss, >= 0, or a schedule. The authors use 1 for 10 classes and 0.1 for 100.
        active: "nce" (`NormalizedCrossEntropy`) or "ce" (`CrossEntropy`, which is not robust).
        passive: "mae" (`MeanAbsolute`) or "rce" (reverse cross-entropy with log 0 = log 1e-4, which is 9.21 times
            "mae").
        from_logits: Whether `y_pred` are logits. Required: omitting it raises `ArgumentError`.
        name, reduction, dtype: As in `keras.losses.Loss`.
    Shapes: `y_true` `(batch, ...)` or `(batch, ..., C)`, `y_pred` `(batch, ..., C)`; loss `(batch, ...)`, in nats.
    Raises:
        ArgumentError: If an option is out of range; when called, if shapes do not match.
    Source: Ma et al. 2020, arXiv:2006.13554, eq. 10.

    >>> loss = ActivePassive(a=1.0, b=1.0, from_logits=True)
    >>> round(float(loss([2], [[2.0, 0.5, -1.0]])), 4)  # 0.6205 + 0.9609
    1.5814
    """

    function = staticmethod(active_passive)

    def __init__(
        self,
        *,
        a: float | Schedule = 1.0,
        b: float | Schedule = 1.0,
        active: Active = "nce",
        passive: Passive = "mae",
        from_logits: bool = REQUIRED,
        name: str | None = "active_passive",
        reduction: str | None = "sum_over_batch_size",
        dtype: Any = None,
    ) -> None:
        super().__init__(from_logits=from_logits, name=name, reduction=reduction, dtype=dtype)
        self.a = self._schedulable("a", a, lambda value: _checked_weight(value, "a"))
        self.b = self._schedulable("b", b, lambda value: _checked_weight(value, "b"))
        self.active = checked_choice(active, "active", _ACTIVE)
        self.passive = checked_choice(passive, "passive", _PASSIVE)


def _checked_weight(value: Any, name: str) -> Any:
    return checked_number(value, name, fix="use a=1 and b=1 for about ten classes as the authors do")
