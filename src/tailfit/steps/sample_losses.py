"""The compiled loss of each sample by itself, for steps that compare samples."""

from typing import Any

import keras
from keras import ops

from tailfit.errors import StepError
from tailfit.training.shares import compiled_losses, over_targets, reduction_of
from tailfit.training.step import Batch

__all__ = ["losses_over_targets", "nonzero", "reduced", "refuse_mixed"]


def losses_over_targets(model: keras.Model, batch: Batch, y_pred: Any, step: str) -> Any:
    """Return the loss of each sample over all targets, without sample weights and gradient, `(batch,)`.

    Args:
        model, batch, y_pred: See `Step.loss`.
        step: Name of the step, for messages.
    Raises:
        StepError: If the model has several losses or outputs, or an output that is not `(batch, C)`.
    """
    values = ops.zeros(())
    for target in batch.targets:
        values = values + target.share * _sample_losses(model, target.y, y_pred, target.sample_weight, step)
    return ops.stop_gradient(values)


def reduced(model: keras.Model, batch: Batch, y_pred: Any, values: Any) -> Any:
    """Return computed values of the samples, `(batch,)`, weighted and reduced like the compiled loss, as a scalar."""
    loss = _Precomputed(reduction=reduction_of(model))
    total, _ = over_targets(model, batch, y_pred, lambda y, weight: loss(values, values, weight))
    return total


def nonzero(sample_weight: Any) -> Any:
    """Return which samples have a weight other than 0, `bool (batch,)`."""
    return ops.reshape(ops.not_equal(ops.convert_to_tensor(sample_weight), 0), (-1,))


def refuse_mixed(batch: Batch, step: str) -> None:
    """Refuse batches of mixed samples, for steps that remember something of each sample.

    Raises:
        StepError: If the batch has several targets.
    """
    if len(batch.targets) > 1:
        raise StepError(
            f"mixed samples for the step {step}",
            expected="samples of the data, each with its own label",
            fix=f"drop {step} from steps=, or the step that mixes samples (Mixup, Remix, CutMix)",
        )


def _sample_losses(model: keras.Model, y: Any, y_pred: Any, sample_weight: Any, step: str) -> Any:
    losses = compiled_losses(model)
    if len(losses) != 1 or keras.tree.is_nested(y_pred) or len(y_pred.shape) != 2:
        shapes = [tuple(part.shape) for part in keras.tree.flatten(y_pred)]
        raise StepError(
            f"a model with {len(losses)} compiled losses and outputs of shapes {shapes}",
            expected="one loss and one output (batch, C), so that each sample has one loss and one class",
            fix=f"drop {step}, or compile one loss",
        )
    loss = keras.losses.get(losses[0])
    if not isinstance(loss, keras.losses.Loss):
        return loss(y, y_pred)
    unreduced = object.__new__(type(loss))  # a shallow copy; copy.copy would serialise the loss
    unreduced.__dict__.update(loss.__dict__)
    unreduced.reduction = "none"
    weight = None if sample_weight is None else ops.cast(nonzero(sample_weight), "float32")
    return unreduced(y, y_pred, weight)


class _Precomputed(keras.losses.Loss):
    """Returns `y_pred`, which are the losses of the samples."""

    def __init__(self, *, reduction: str) -> None:
        super().__init__(name="precomputed", reduction=reduction, dtype="float32")

    def call(self, y_true: Any, y_pred: Any) -> Any:
        return y_pred
