"""Gaussian clouded logits: noise that makes the scores of rare classes smaller in training."""

from typing import Any

import keras
import numpy as np
from keras import ops

from tailfit.arguments import checked_class_counts, checked_number
from tailfit.errors import StepError
from tailfit.hyperparameters import as_scheduled, config_of, value_of
from tailfit.schedules import Schedule
from tailfit.steps.tensors import checked_seed
from tailfit.training.step import Batch, Loss, Step

__all__ = ["GCL"]


@keras.saving.register_keras_serializable(package="tailfit")
class GCL(Step):
    """Subtracts `noise * |e| * (log n_max - log n_c) / (log n_max - log n_min)` from the score of each class c.

    e is drawn for each sample and class from a normal distribution of standard deviation 1/3, clipped to [-1, 1].
    So a network must give rare classes larger scores to reach the same loss, by an amount that differs from sample to
    sample, and their features spread further apart. The scores should be cosines whose loss scales them: compile with
    `LDAM(class_counts, max_margin=0, scale=30)` and end the network in `tailfit.layers.CosineDense`. The noise is drawn
    in training only, and the metrics use the scores without it. The authors train the classifier again afterwards, on
    class-balanced batches.

    Args:
        class_counts: C counts > 0, or an object with `class_counts` (`batches`).
        noise: Size of the noise for the rarest class, >= 0; may follow a schedule. The authors use 0.5 for cosines.
        seed: Seed of the draws.
    Shapes: one output `(batch, ..., C)`.
    Raises:
        ArgumentError: If a value is out of range.
        StepError: At the first step, if there are several outputs, or the number of classes differs.
    Source: Li et al. 2022, "Long-tailed visual recognition via Gaussian clouded logit adjustment", CVPR; their code.

    >>> import keras, numpy as np, tailfit
    >>> inputs = keras.Input((4,))
    >>> model = tailfit.Model(inputs, tailfit.layers.CosineDense(3)(inputs))
    >>> loss = tailfit.losses.LDAM([100, 10, 1], max_margin=0.0, from_logits=True)
    >>> model.compile("sgd", loss, steps=[tailfit.steps.GCL(class_counts=[100, 10, 1], seed=0)])
    >>> history = model.fit(np.ones((6, 4)), np.arange(6) % 3, verbose=0)
    >>> np.isfinite(history.history["loss"]).tolist()
    [True]
    """

    def __init__(self, *, class_counts: Any, noise: float | Schedule = 0.5, seed: int | None = None) -> None:
        self.class_counts = checked_class_counts(class_counts)
        self.noise = as_scheduled(noise, _checked_noise, name="noise", dtype=None)
        self.seed = checked_seed(seed)
        self.generator = keras.random.SeedGenerator(self.seed)

    def loss(self, model: keras.Model, loss: Loss, batch: Batch, y_pred: Any) -> Any:
        logs = np.log(self.class_counts)
        if keras.tree.is_nested(y_pred) or y_pred.shape[-1] != len(logs):
            shapes = [tuple(part.shape) for part in keras.tree.flatten(y_pred)]
            raise StepError(
                f"outputs of shapes {shapes} for the step GCL with {len(logs)} class counts",
                expected="one output with a score for each class",
                fix="pass one count per class, or drop GCL from steps=",
            )
        depth = (logs.max() - logs) / max(logs.max() - logs.min(), np.finfo(float).tiny)
        drawn = keras.random.normal(ops.shape(y_pred), stddev=1 / 3, dtype="float32", seed=self.generator)
        cloud = value_of(self.noise) * ops.minimum(ops.abs(drawn), 1.0) * ops.convert_to_tensor(depth, "float32")
        return loss(batch, y_pred - ops.cast(cloud, y_pred.dtype))

    def get_config(self) -> dict[str, Any]:
        return {"class_counts": list(self.class_counts), "noise": config_of(self.noise), "seed": self.seed}


def _checked_noise(noise: Any) -> Any:
    return checked_number(noise, "noise", fix="the authors use 0.5 for cosines; 0 switches the noise off")
