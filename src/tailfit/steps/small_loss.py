"""Small-loss selection: samples with the largest losses, which are likely mislabelled, are left out."""

from dataclasses import replace
from typing import Any

import keras
from keras import ops

from tailfit.arguments import checked_number
from tailfit.hyperparameters import as_scheduled, config_of, value_of
from tailfit.schedules import Schedule
from tailfit.steps.sample_losses import losses_over_targets, nonzero
from tailfit.targets import class_count, class_indices_of
from tailfit.training.divisor import rows_of
from tailfit.training.shares import MEAN, WEIGHTED, reduction_of, times
from tailfit.training.step import Batch, Loss, Step

__all__ = ["SmallLoss"]


@keras.saving.register_keras_serializable(package="tailfit")
class SmallLoss(Step):
    """Leaves out the samples with the largest losses within each class of a batch.

    Of n samples of a class in the batch, `floor(forget_rate * n)` are left out, but never all of them: ranking within
    classes keeps rare classes, whose losses are large, from being dropped. The loss is the mean over the samples kept
    (their sum with reduction "sum"). Samples of weight 0 are not ranked.

    Args:
        forget_rate: Fraction left out, in [0, 1], approximately the fraction of wrong labels. Networks learn correct
            labels first, so let it rise over the first epochs: `tailfit.schedules.Linear(0.0, 0.2, epochs=10)`.
    Shapes: one output `(batch, C)`; labels as class indices, or one-hot or soft labels, whose class is the largest
        entry. The class of a mixed sample is that of its first target.
    Raises:
        ArgumentError: If the rate is out of range.
        StepError: At the first step, if the model has other outputs or no compiled loss.
    Source: Han et al. 2018, arXiv:1804.06872, algorithm 1 (its criterion, for one network and by class).

    >>> import keras, numpy as np, tailfit
    >>> inputs = keras.Input((4,))
    >>> model = tailfit.Model(inputs, keras.layers.Dense(3)(inputs))
    >>> loss = tailfit.losses.CrossEntropy(from_logits=True)
    >>> model.compile("sgd", loss, steps=[tailfit.steps.SmallLoss(forget_rate=0.2)])
    >>> history = model.fit(np.ones((6, 4)), np.arange(6) % 3, verbose=0)
    >>> np.isfinite(history.history["loss"]).tolist()
    [True]
    """

    def __init__(self, *, forget_rate: float | Schedule) -> None:
        self.forget_rate = as_scheduled(forget_rate, _checked_rate, name="forget_rate", dtype=None)

    def loss(self, model: keras.Model, loss: Loss, batch: Batch, y_pred: Any) -> Any:
        kept = self._kept(model, batch, y_pred)
        # The loss divides by the number of samples, or the sum of weights, of the whole batch. Correct for that.
        if reduction_of(model) == MEAN:
            kept = kept * (ops.cast(rows_of(y_pred), "float32") / ops.sum(kept))
        elif reduction_of(model) == WEIGHTED:
            shares = [(times(target.share, None, y_pred), target.sample_weight) for target in batch.targets]
            whole = sum(ops.sum(times(share, weight, y_pred)) for share, weight in shares)
            left = sum(ops.sum(times(share * kept, weight, y_pred)) for share, weight in shares)
            kept = kept * ops.divide_no_nan(whole, left)
        targets = [replace(target, share=kept * target.share) for target in batch.targets]
        return loss(replace(batch, targets=tuple(targets)), y_pred)

    def _kept(self, model: keras.Model, batch: Batch, y_pred: Any) -> Any:
        """Return 1 for each sample that is kept, else 0: `float32 (batch,)`."""
        first = batch.targets[0]
        values = losses_over_targets(model, batch, y_pred, "SmallLoss")
        fix = "drop SmallLoss from steps=, or end the network in Dense(2), one output per class"
        class_count(y_pred, consumer="the step SmallLoss, which ranks samples within their class", fix=fix)
        codes, _ = class_indices_of(first.y, y_pred)
        counts = ops.ones_like(codes, dtype="bool")
        for target in batch.targets:
            if target.sample_weight is not None:
                counts = ops.logical_and(counts, nonzero(target.sample_weight))
        index = ops.arange(rows_of(y_pred), dtype="int32")
        mine, other = ops.expand_dims(values, 1), ops.expand_dims(values, 0)
        earlier = ops.expand_dims(index, 0) < ops.expand_dims(index, 1)
        smaller = ops.logical_or(other < mine, ops.logical_and(ops.equal(other, mine), earlier))
        same = ops.equal(ops.expand_dims(codes, 1), ops.expand_dims(codes, 0))
        same = ops.logical_and(same, ops.expand_dims(counts, 0))
        size = ops.sum(ops.cast(same, "float32"), axis=1)
        rank = ops.sum(ops.cast(ops.logical_and(same, smaller), "float32"), axis=1)
        # In float32, 0.2 * 5 may be slightly below 1.
        dropped = ops.minimum(ops.floor(value_of(self.forget_rate) * size + 1e-4), size - 1)
        return ops.cast(ops.logical_or(rank < size - dropped, ops.logical_not(counts)), "float32")

    def get_config(self) -> dict[str, Any]:
        return {"forget_rate": config_of(self.forget_rate)}


def _checked_rate(rate: Any) -> Any:
    fix = "pass the fraction of labels that are likely wrong, such as 0.2"
    return checked_number(rate, "forget_rate", most=1.0, fix=fix)
