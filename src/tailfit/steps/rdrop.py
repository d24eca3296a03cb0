"""R-Drop: a penalty on the difference between two passes with different dropout."""

from typing import Any

import keras
import numpy as np
from keras import ops

from tailfit.arguments import REQUIRED, checked_flag, checked_number
from tailfit.hyperparameters import as_scheduled, config_of, value_of
from tailfit.schedules import Schedule
from tailfit.training.shares import over_targets, reduction_of
from tailfit.training.step import Batch, Forward, Step, unreported

__all__ = ["RDrop"]


@keras.saving.register_keras_serializable(package="tailfit")
class RDrop(Step):
    """Adds the divergence of two passes to their mean loss: `(L_1 + L_2) / 2 + alpha / 4 * (KL(p||q) + KL(q||p))`.

    This is half of the paper's loss: `alpha=0` gives the usual loss, and alpha has the paper's meaning. The divergence
    is weighted and reduced like the loss. The step has an effect only with dropout or another source of noise.

    Args:
        alpha: Weight of the divergence, >= 0; may follow a schedule.
        from_logits: Whether the model returns logits rather than probabilities. Required.
    Shapes: one output `(batch, ..., C)`, C >= 2 exclusive classes; the divergence is in nats.
    Raises:
        ArgumentError: If `alpha < 0`, or `from_logits` is missing.
        StepError: At the first step, if there are several outputs.
    Source: Liang et al. 2021, arXiv:2106.14448, eq. 4.

    >>> import keras, numpy as np, tailfit
    >>> inputs = keras.Input((4,))
    >>> model = tailfit.Model(inputs, keras.layers.Dense(3)(keras.layers.Dropout(0.5)(inputs)))
    >>> loss = tailfit.losses.CrossEntropy(from_logits=True)
    >>> model.compile("sgd", loss, steps=[tailfit.steps.RDrop(alpha=1.0, from_logits=True)])
    >>> history = model.fit(np.ones((6, 4)), np.arange(6) % 3, verbose=0)
    >>> np.isfinite(history.history["loss"]).tolist()
    [True]
    """

    def __init__(self, *, alpha: float | Schedule = 1.0, from_logits: bool = REQUIRED) -> None:
        self.alpha = as_scheduled(alpha, _checked_alpha, name="alpha", dtype=None)
        self.from_logits = checked_flag(from_logits)

    def forward(self, model: keras.Model, forward: Forward, batch: Batch) -> tuple[Any, Any]:
        first, y_pred = forward(batch)
        with unreported():
            second, again = forward(batch)
        divergence = _SymmetricDivergence(from_logits=self.from_logits, reduction=reduction_of(model))
        apart, _ = over_targets(model, batch, y_pred, lambda y, weight: divergence(y_pred, again, weight))
        return (first + second) / 2 + value_of(self.alpha) * apart, y_pred

    def get_config(self) -> dict[str, Any]:
        return {"alpha": config_of(self.alpha), "from_logits": self.from_logits}


def _checked_alpha(alpha: Any) -> Any:
    return checked_number(alpha, "alpha", fix="pass a number from 1 to 5, for example; 0 only averages the two passes")


class _SymmetricDivergence(keras.losses.Loss):
    """A quarter of KL(p||q) + KL(q||p), computed as the sum of (p - q) * (log p - log q)."""

    def __init__(self, *, from_logits: bool, reduction: str) -> None:
        super().__init__(name="symmetric_divergence", reduction=reduction, dtype="float32")
        self.from_logits = from_logits

    def call(self, y_true: Any, y_pred: Any) -> Any:
        log_p, log_q = self._log(y_true), self._log(y_pred)
        return ops.sum((ops.exp(log_p) - ops.exp(log_q)) * (log_p - log_q), axis=-1) / 4

    def _log(self, y: Any) -> Any:
        if self.from_logits:
            return ops.log_softmax(y, axis=-1)
        return ops.log(ops.maximum(y, float(np.finfo("float32").tiny)))
