"""Cross-entropy of normalised logits, which a network cannot reduce just by becoming more confident."""

import functools
from typing import Any

import keras
from keras import ops

from tailfit.arguments import REQUIRED, checked_flag, checked_number
from tailfit.losses._base import ClassificationLoss
from tailfit.losses._labels import Labels
from tailfit.losses._numerics import finite, prepare
from tailfit.losses._slopes import Slope, add_into, multiply_into, subtract_into, with_slopes
from tailfit.schedules import Schedule
from tailfit.targets import Tensor

__all__ = ["LogitNorm", "logit_norm"]

_EPSILON = 1e-7  # as in the authors' code


def logit_norm(y_true: Tensor, y_pred: Tensor, *, temperature: float = 0.04, from_logits: bool = REQUIRED) -> Tensor:
    """Return the per-sample values of `LogitNorm`.

    >>> value = logit_norm([1], [[0.0, 9.0]], temperature=1.0, from_logits=True)
    >>> round(float(value[0]), 4)  # ln(1 + 1 / e)
    0.3133
    """
    temperature = _checked_temperature(temperature)
    labels, logits = prepare(y_true, y_pred, from_logits=checked_flag(from_logits))
    if keras.backend.backend() == "tensorflow" and labels.is_indices and isinstance(temperature, float):
        return with_slopes(functools.partial(_with_slope, labels, temperature), logits)
    bounded, norm, _ = _norm(logits)
    return labels.cross_entropy(_scaled(logits, bounded, norm * temperature))


def _norm(logits: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return logits with 0 in place of -inf, their norm plus epsilon, and the norm with 1 in place of 0."""
    bounded = finite(logits)
    squared = ops.sum(ops.square(bounded), axis=-1, keepdims=True)
    # The gradient of the square root is infinite at 0; there the norm is 0, with gradient 0.
    positive = ops.sqrt(ops.where(squared > 0, squared, 1.0))
    return bounded, ops.where(squared > 0, positive, squared) + _EPSILON, positive


def _scaled(logits: Tensor, bounded: Tensor, divisor: Tensor) -> Tensor:
    """Return `logits / divisor`, whose gradient by the divisor is finite where a logit is -inf."""
    off = ops.stop_gradient(logits - bounded)  # 0 or -inf
    return add_into(bounded * (1.0 / divisor), off)


def _with_slope(labels: Labels, temperature: float, logits: Tensor) -> tuple[Tensor, list[Slope]]:
    """Return the values for class indices, and their slope."""
    bounded, norm, positive = _norm(logits)
    divisor = norm * temperature
    log_p = ops.log_softmax(_scaled(logits, bounded, divisor), axis=-1)

    def slope() -> Tensor:
        p = ops.exp(log_p)
        along = ops.sum(p * bounded, axis=-1) - labels.of(bounded)
        change = subtract_into(p, bounded * (ops.expand_dims(along, -1) / (norm * positive)))
        change = labels.added(change, ops.full((logits.shape[-1],), -1.0, dtype=log_p.dtype))
        one = labels.sum(ops.ones_like(along))  # NaN for an invalid class index
        return multiply_into(change, ops.expand_dims(one, -1) / divisor)

    return -labels.sum(labels.log_labelled(log_p)), [slope]


@keras.saving.register_keras_serializable(package="tailfit")
class LogitNorm(ClassificationLoss):
    """Cross-entropy of `z / (|z| + 1e-7) / temperature`.

    Initialise the head's kernel with random values: if all logits are 0, gradients are as large as 1e7 / temperature.

    Args:
        temperature: Temperature, > 0, or a schedule. The smaller it is, the lower is the minimum of the loss.
        from_logits: Whether `y_pred` are logits. Prefer logits: for probabilities z is log p, which has a different
            norm. Required: omitting it raises `ArgumentError`.
        name, reduction, dtype: As in `keras.losses.Loss`.
    Shapes: `y_true` `(batch, ...)` or `(batch, ..., C)`, `y_pred` `(batch, ..., C)`; loss `(batch, ...)`, in nats.
    Raises:
        ArgumentError: If an option is out of range; when called, if shapes do not match.
    Source: Wei et al. 2022, arXiv:2205.09310, eq. 5.

    >>> loss = LogitNorm(temperature=0.5, from_logits=True)
    >>> round(float(loss([0], [[3.0, 4.0]])), 4)  # cross-entropy of the logits 0.6 / 0.5 and 0.8 / 0.5
    0.913
    """

    function = staticmethod(logit_norm)

    def __init__(
        self,
        *,
        temperature: float | Schedule = 0.04,
        from_logits: bool = REQUIRED,
        name: str | None = "logit_norm",
        reduction: str | None = "sum_over_batch_size",
        dtype: Any = None,
    ) -> None:
        super().__init__(from_logits=from_logits, name=name, reduction=reduction, dtype=dtype)
        self.temperature = self._schedulable("temperature", temperature, _checked_temperature)


def _checked_temperature(temperature: Any) -> Any:
    return checked_number(temperature, "temperature", above=0.0, fix="use 0.04 as the authors do, or 1 for no scaling")
