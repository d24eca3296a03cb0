"""Cross-entropy that sees only the direction of the logits: a network can't lower it by growing ever surer."""

from typing import Any

import keras
from keras import ops

from tailfit.arguments import REQUIRED, checked_flag, checked_number
from tailfit.hyperparameters import followed
from tailfit.losses._base import ClassificationLoss
from tailfit.losses._numerics import prepare, soft_cross_entropy
from tailfit.schedules import Schedule
from tailfit.targets import Tensor

__all__ = ["LogitNorm", "logit_norm"]

_EPSILON = 1e-7  # as in the authors' code


def logit_norm(y_true: Tensor, y_pred: Tensor, *, temperature: float = 0.04, from_logits: bool = REQUIRED) -> Tensor:
    """Per-sample values of `LogitNorm`, which see.

    >>> value = logit_norm([1], [[0.0, 9.0]], temperature=1.0, from_logits=True)
    >>> round(float(value[0]), 4)  # ln(1 + 1 / e)
    0.3133
    """
    temperature = _checked_temperature(temperature)
    targets, logits = prepare(y_true, y_pred, from_logits=checked_flag(from_logits))
    off = ops.isinf(logits)
    finite = ops.where(off, ops.zeros_like(logits), logits)
    squared = ops.sum(ops.square(finite), axis=-1, keepdims=True)
    # The root has no slope at 0, where the norm is 0 and so little that it does not matter what the slope is.
    norm = ops.where(squared > 0, ops.sqrt(ops.where(squared > 0, squared, ops.ones_like(squared))), squared)
    return soft_cross_entropy(targets, ops.where(off, logits, finite / (norm + _EPSILON) / temperature))


@keras.saving.register_keras_serializable(package="tailfit")
class LogitNorm(ClassificationLoss):
    """Cross-entropy of `z / (|z| + 1e-7) / temperature`.

    A head that starts with all logits 0 starts with slopes of 1e7 / temperature: give its kernel random values.

    Args:
        temperature: > 0, or a schedule of it. The smaller, the lower the loss can fall.
        from_logits: Whether `y_pred` are logits. Of probabilities z is log p, whose length is another one: prefer
            logits. No default: leaving it out is an `ArgumentError`.
        name, reduction, dtype: As in `keras.losses.Loss`.
    Shapes: `y_true` codes `(batch, ...)` or `(batch, ..., 1)`, or one-hot or soft `(batch, ..., C)`; `y_pred`
        `(batch, ..., C)`; per-sample loss `(batch, ...)` in nats.
    Raises:
        ArgumentError: at once for a value out of range; at the first call for shapes that do not fit.
    Source: Wei et al. 2022, arXiv:2205.09310, eq. 5.

    >>> loss = LogitNorm(temperature=0.5, from_logits=True)
    >>> round(float(loss([0], [[3.0, 4.0]])), 4)  # of 0.6 and 0.8, doubled
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
        self.temperature = followed(temperature, _checked_temperature, name="temperature", dtype=self.dtype)


def _checked_temperature(temperature: Any) -> Any:
    return checked_number(temperature, "temperature", above=0.0, fix="use 0.04 as the authors do, 1 for no scaling")
