"""LADE: a regulariser that makes logits independent of how frequent classes are in training."""

from typing import Any

import keras
import numpy as np
from keras import ops

from tailfit.arguments import checked_class_counts, checked_number
from tailfit.errors import StepError
from tailfit.hyperparameters import as_scheduled, config_of, value_of
from tailfit.schedules import Schedule
from tailfit.targets import dense_targets
from tailfit.training.divisor import rows_of
from tailfit.training.step import Batch, Loss, Step

__all__ = ["LADE"]


@keras.saving.register_keras_serializable(package="tailfit")
class LADE(Step):
    """Adds `-weight * sum_c pi_c * (T_c - S_c - penalty * S_c ** 2)` to the loss, a bound of Donsker and Varadhan.

    For the logits f of a batch of N samples, `T_c` is the mean of f_c over the samples of class c (0 without any), and
    `S_c = log(1/N * sum_i exp(f_c(x_i)) / (C * pi_c))` over all samples; pi are the shares of the classes. At its
    maximum f_c is the logarithm of p(x | c) / p(x) under balanced classes, whatever the shares in training are. So the
    logits fit the class shares of any deployment: compile with `LogitAdjusted`, which adds the shares of the training,
    and add those of the deployment to the logits when predicting. In a training by parts, each part has its own bound.

    As in the authors' code, the weight of each sample in S_c is that of class c; in the paper it is that of the
    sample's own class.

    Args:
        class_counts: C counts > 0, or an object with `class_counts` (`batches`).
        weight: Weight of the regulariser, >= 0; may follow a schedule. The authors use 0.1.
        penalty: Weight of the squares, >= 0, which keep the estimate of the bound stable. The authors use 0.1.
    Shapes: one output `(batch, C)` of logits.
    Raises:
        ArgumentError: If a value is out of range.
        StepError: At the first step, if the model has other outputs.
    Source: Hong et al. 2021, arXiv:2012.00321, and their code.

    >>> import keras, numpy as np, tailfit
    >>> inputs = keras.Input((4,))
    >>> model = tailfit.Model(inputs, keras.layers.Dense(3)(inputs))
    >>> loss = tailfit.losses.LogitAdjusted([100, 10, 1], from_logits=True)
    >>> model.compile("sgd", loss, steps=[tailfit.steps.LADE(class_counts=[100, 10, 1])])
    >>> history = model.fit(np.ones((6, 4)), np.arange(6) % 3, verbose=0)
    >>> np.isfinite(history.history["loss"]).tolist()
    [True]
    """

    def __init__(self, *, class_counts: Any, weight: float | Schedule = 0.1, penalty: float = 0.1) -> None:
        self.class_counts = checked_class_counts(class_counts)
        self.weight = as_scheduled(weight, _checked_weight, name="weight", dtype=None)
        self.penalty = checked_number(penalty, "penalty", fix="the authors use 0.1")

    def loss(self, model: keras.Model, loss: Loss, batch: Batch, y_pred: Any) -> Any:
        value = loss(batch, y_pred)
        classes = len(self.class_counts)
        if keras.tree.is_nested(y_pred) or len(y_pred.shape) != 2 or y_pred.shape[-1] != classes:
            shapes = [tuple(part.shape) for part in keras.tree.flatten(y_pred)]
            raise StepError(
                f"outputs of shapes {shapes} for the step LADE with {classes} class counts",
                expected=f"one output (batch, {classes})",
                fix="pass one count per class, or drop LADE from steps=",
            )
        shares = np.array(self.class_counts) / np.sum(self.class_counts)
        logits = ops.cast(y_pred, "float32")
        labels = ops.zeros_like(logits)
        for target in batch.targets:
            share = ops.cast(target.share, "float32")
            share = ops.expand_dims(share, -1) if len(share.shape) else share
            labels = labels + share * dense_targets(target.y, y_pred, "float32")
        of_own = ops.divide_no_nan(ops.sum(labels * logits, axis=0), ops.sum(labels, axis=0))
        offset = ops.convert_to_tensor(np.log(shares * classes), dtype="float32")
        of_all = ops.logsumexp(logits - offset, axis=0) - ops.log(ops.cast(rows_of(y_pred), "float32"))
        bounds = of_own - of_all - self.penalty * ops.square(of_all)
        bound = ops.sum(ops.convert_to_tensor(shares, dtype="float32") * bounds)
        return value - batch.penalties * value_of(self.weight) * ops.cast(bound, value.dtype)

    def get_config(self) -> dict[str, Any]:
        return {"class_counts": list(self.class_counts), "weight": config_of(self.weight), "penalty": self.penalty}


def _checked_weight(weight: Any) -> Any:
    return checked_number(weight, "weight", fix="the authors use 0.1; 0 switches the regulariser off")
