"""Seesaw loss: samples of frequent classes have less effect on rarer classes, unless these are predicted wrongly.

In the softmax, exp(z_j) of each class j other than the true class y has two factors: the mitigation (N_j / N_y)^p if j
is rarer than y, and the compensation (p_j / p_y)^q if j is predicted with a higher probability than y.
"""

import math
from collections.abc import Mapping
from typing import Any, Self

import keras
import numpy as np
from keras import ops

from tailfit.arguments import REQUIRED, checked_class_counts, checked_flag, checked_number
from tailfit.counting import counts_labels
from tailfit.hyperparameters import refuse_constant_variables, value_of
from tailfit.losses._base import ClassificationLoss
from tailfit.losses._numerics import at_least_tiny, class_constant, prepare
from tailfit.losses._slopes import multiply_into, subtract_into
from tailfit.schedules import Schedule
from tailfit.targets import Tensor, class_count, dense_targets, weights_of

__all__ = ["Seesaw", "seesaw"]

_MIN_LOG_P = math.log(0.01)  # lower bound of log p_y in the compensation factor


def seesaw(
    y_true: Tensor,
    y_pred: Tensor,
    class_counts: Any,
    *,
    p: float = 0.8,
    q: float = 2.0,
    from_logits: bool = REQUIRED,
) -> Tensor:
    """Return the per-sample values of `Seesaw`; counts below 1 are replaced with 1.

    >>> value = seesaw([0], [[0.0, 0.0]], [100, 1], p=0.5, from_logits=True)
    >>> round(float(value[0]), 4)  # ln(1 + 1 / 10)
    0.0953
    """
    p, q = _checked_exponent(p, "p"), _checked_exponent(q, "q")
    labels, logits = prepare(y_true, y_pred, from_logits=checked_flag(from_logits))
    log_p = ops.log_softmax(ops.stop_gradient(logits), axis=-1)
    if isinstance(class_counts, keras.Variable):
        log_counts = ops.log(_at_least_1(class_constant(class_counts, logits, "class_counts")))
    else:
        log_counts = class_constant(checked_class_counts(class_counts), logits, "class_counts", _log_of_1_or_more)
    if labels.is_indices:
        log_own_count, own_log_p = labels.of_classes(log_counts), labels.of(log_p)
    else:
        log_own_count = ops.log(labels.sum(ops.exp(log_counts)))
        own_log_p = ops.log(at_least_tiny(labels.sum(ops.exp(log_p))))
    floor = ops.where(own_log_p < _MIN_LOG_P, _MIN_LOG_P, own_log_p)
    compensation = multiply_into(ops.relu(subtract_into(log_p, ops.expand_dims(floor, -1))), q)
    mitigation = ops.relu(p * ops.expand_dims(log_own_count, -1) - p * log_counts)
    change = subtract_into(compensation, mitigation)
    if not labels.is_indices:  # with class indices, that of the true class is 0 already
        change = (1.0 - labels.rows()) * change
    return labels.cross_entropy(logits + change)


def _at_least_1(counts: Tensor) -> Tensor:
    return ops.where(counts < 1.0, 1.0, counts)


def _log_of_1_or_more(counts: Any) -> Any:
    return np.log(np.maximum(counts, 1.0))


@keras.saving.register_keras_serializable(package="tailfit")
class Seesaw(ClassificationLoss):
    """Cross-entropy of the logits `z_j + p log min(1, N_j / N_y) + q log max(1, p_j / max(p_y, 0.01))` for j != y.

    The logit z_y of the true class y is unchanged. Without `class_counts`, the loss counts labels during training: N_j
    is the total sample weight of class j so far, including the current batch. The counts are saved with the model.
    `tailfit.Model` does not count validation data. A plain `keras.Model` does, and on JAX it cannot count at all, which
    raises an error. In the gradient, p_j and p_y are constants. For a soft label, N_y and p_y are the means over its
    classes.

    Args:
        class_counts: C counts > 0, or an object with `class_counts` (`batches`). None counts labels during training.
        p: Exponent of the mitigation, >= 0, or a schedule. 0 disables it.
        q: Exponent of the compensation, >= 0, or a schedule. If both are 0, this is cross-entropy.
        from_logits: Whether `y_pred` are logits. Required: omitting it raises `ArgumentError`.
        name, reduction, dtype: As in `keras.losses.Loss`.
    Shapes: `y_true` `(batch, ...)` or `(batch, ..., C)`, `y_pred` `(batch, ..., C)`; loss `(batch, ...)`, in nats.
    Raises:
        ArgumentError: If a count is not > 0 or an option is out of range; when called, if shapes do not match or the
            number of classes differs.
        StepError: When called, if it should count labels in a step that Keras itself compiles on JAX.
    Source: Wang et al. 2021, arXiv:2008.10032, eq. 3 to 6.

    >>> loss = Seesaw([1000, 100, 10], from_logits=True)
    >>> round(float(loss([1], [[1.0, 1.0, 1.0]])), 4)
    0.7694
    >>> online = Seesaw(from_logits=True)
    >>> value = online([0, 0, 1], [[1.0, 1.0], [1.0, 1.0], [1.0, 1.0]])
    >>> ops.convert_to_numpy(online.counted).tolist()
    [2.0, 1.0]
    """

    function = staticmethod(seesaw)
    counted: keras.Variable | None = None  # float32 (C,): the counts so far

    def __init__(
        self,
        class_counts: Any = None,
        *,
        p: float | Schedule = 0.8,
        q: float | Schedule = 2.0,
        from_logits: bool = REQUIRED,
        name: str | None = "seesaw",
        reduction: str | None = "sum_over_batch_size",
        dtype: Any = None,
    ) -> None:
        super().__init__(from_logits=from_logits, name=name, reduction=reduction, dtype=dtype)
        self.class_counts = None if class_counts is None else checked_class_counts(class_counts)
        self.p = self._schedulable("p", p, lambda value: _checked_exponent(value, "p"))
        self.q = self._schedulable("q", q, lambda value: _checked_exponent(value, "q"))

    def reduced(self, labels: Any, y_pred: Tensor, sample_weight: Tensor) -> Tensor:
        if self.class_counts is None:
            refuse_constant_variables("Seesaw without class_counts", self.counted, what="counting")
            if self.counted is None:
                self.counted = _counter("zeros", class_count(y_pred))
            if counts_labels():
                # In float32: a sum in bfloat16 stops at 256.
                weights = ops.expand_dims(weights_of(y_pred, sample_weight, "float32"), -1)
                rows = weights * dense_targets(labels, y_pred, "float32")
                self.counted.assign_add(ops.sum(ops.reshape(rows, (-1, class_count(y_pred))), axis=0))
        return super().reduced(labels, y_pred, sample_weight)

    def call(self, y_true: Tensor, y_pred: Tensor) -> Tensor:
        counts = self.counted if self.class_counts is None else self.class_counts
        return seesaw(y_true, y_pred, counts, p=value_of(self.p), q=value_of(self.q), from_logits=self.from_logits)

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments, and the counts so far."""
        counted = {} if self.counted is None else {"counted": ops.convert_to_numpy(self.counted).tolist()}
        return {**super().get_config(), **counted}

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Self:
        """Build a loss from `get_config()`, with its counts."""
        counted = config.get("counted")
        loss = super().from_config({key: value for key, value in config.items() if key != "counted"})
        if counted is not None:
            loss.counted = _counter(np.asarray(counted, "float32"), len(counted))
        return loss


def _counter(initializer: Any, classes: int) -> keras.Variable:
    shape = (classes,) if isinstance(initializer, str) else None
    return keras.Variable(initializer, shape=shape, dtype="float32", trainable=False, autocast=False, name="counted")


def _checked_exponent(value: Any, name: str) -> Any:
    return checked_number(value, name, fix="use p=0.8 and q=2 as the authors do, or 0 to disable a factor")
