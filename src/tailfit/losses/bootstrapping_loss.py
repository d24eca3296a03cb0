"""Bootstrapping for noisy labels: the target is a mix of the label and the network's own prediction."""

import functools
from typing import Any

import keras
from keras import ops

from tailfit.arguments import REQUIRED, checked_choice, checked_flag, checked_number
from tailfit.losses._base import ClassificationLoss
from tailfit.losses._labels import Labels
from tailfit.losses._numerics import finite, prepare
from tailfit.losses._slopes import Slope, add_into, multiply_into, with_slopes
from tailfit.schedules import Schedule
from tailfit.targets import Tensor

__all__ = ["Bootstrapping", "bootstrapping"]


def bootstrapping(
    y_true: Tensor,
    y_pred: Tensor,
    *,
    beta: float | None = None,
    hard: bool = False,
    stop_gradient: bool = False,
    from_logits: bool = REQUIRED,
) -> Tensor:
    """Return the per-sample values of `Bootstrapping`.

    >>> value = bootstrapping([1], [[0.0, 0.0]], beta=0.9, from_logits=True)
    >>> round(float(value[0]), 4)  # ln 2 for every target, since both classes have probability 1/2
    0.6931
    """
    beta, hard = _checked_beta(beta, hard), checked_choice(hard, "hard", (True, False))
    labels, logits = prepare(y_true, y_pred, from_logits=checked_flag(from_logits))
    if labels.is_indices and isinstance(beta, float) and not hard and not stop_gradient:
        return with_slopes(functools.partial(_soft, labels, beta), logits)
    log_p = ops.log_softmax(logits, axis=-1)
    if hard:
        own = ops.max(log_p, axis=-1)
    else:
        p = ops.exp(ops.stop_gradient(log_p) if stop_gradient else log_p)
        own = ops.sum(p * finite(log_p), axis=-1)
    return -beta * labels.sum(labels.log_labelled(log_p)) - (1.0 - beta) * own


def _soft(labels: Labels, beta: float, logits: Tensor) -> tuple[Tensor, list[Slope]]:
    """Return the values for class indices with the predicted probabilities in the target, and their slope."""
    log_p = ops.log_softmax(logits, axis=-1)
    p, bounded = ops.exp(log_p), finite(log_p)
    own = ops.sum(p * bounded, axis=-1)

    def slope() -> Tensor:
        one = labels.sum(ops.ones_like(own))  # NaN for an invalid class index
        change = multiply_into(ops.expand_dims(own, -1) - bounded, 1.0 - beta)
        change = multiply_into(add_into(change, ops.expand_dims(beta * one, -1)), p)
        return labels.added(change, ops.full((logits.shape[-1],), -beta, dtype=p.dtype))

    return -beta * labels.sum(labels.log_labelled(log_p)) - (1.0 - beta) * own, [slope]


@keras.saving.register_keras_serializable(package="tailfit")
class Bootstrapping(ClassificationLoss):
    """Cross-entropy with the target `beta y + (1 - beta) p`, or with `hard` `beta y + (1 - beta) one_hot(arg max p)`.

    Args:
        beta: Share of the given label, in [0, 1], or a schedule. None is 0.95, or 0.8 with `hard`. With 1 this is
            cross-entropy.
        hard: Whether the rest of the target is the most likely class instead of the predicted probabilities.
        stop_gradient: Whether p in the target is treated as a constant. The authors differentiate it, which also makes
            predictions more confident. (An arg max has no gradient in any case.)
        from_logits: Whether `y_pred` are logits. Required: omitting it raises `ArgumentError`.
        name, reduction, dtype: As in `keras.losses.Loss`.
    Shapes: `y_true` `(batch, ...)` or `(batch, ..., C)`, `y_pred` `(batch, ..., C)`; loss `(batch, ...)`, in nats.
    Raises:
        ArgumentError: If an option is out of range; when called, if shapes do not match.
    Source: Reed et al. 2015, arXiv:1412.6596, eq. 6 (soft) and 7 (hard).

    >>> loss = Bootstrapping(hard=True, from_logits=True)
    >>> round(float(loss([2], [[2.0, 0.5, -1.0]])), 4)  # 0.8 * 3.2413 + 0.2 * 0.2413
    2.6413
    """

    function = staticmethod(bootstrapping)

    def __init__(
        self,
        *,
        beta: float | Schedule | None = None,
        hard: bool = False,
        stop_gradient: bool = False,
        from_logits: bool = REQUIRED,
        name: str | None = "bootstrapping",
        reduction: str | None = "sum_over_batch_size",
        dtype: Any = None,
    ) -> None:
        super().__init__(from_logits=from_logits, name=name, reduction=reduction, dtype=dtype)
        self.hard = checked_choice(hard, "hard", (True, False))
        self.stop_gradient = checked_choice(stop_gradient, "stop_gradient", (True, False))
        self.beta = self._schedulable("beta", beta, lambda value: _checked_beta(value, hard))


def _checked_beta(beta: Any, hard: bool) -> Any:
    beta = (0.8 if hard else 0.95) if beta is None else beta
    fix = "use 0.95 (0.8 with hard=True), or 1 to trust all labels"
    return checked_number(beta, "beta", most=1.0, fix=fix)
