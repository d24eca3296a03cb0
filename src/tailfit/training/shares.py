"""The loss of a batch with several targets, exact under every reduction of the compiled loss.

Concepts:
- *mass*: the divisor of a reduction: the number of values, or the sum of their weights.
- A scalar share multiplies the loss. A share per sample multiplies the sample weights. If the reduction divides by the
  sum of weights, the shares are in that sum, too; the factor `mass(share * weight) / mass(weight)` corrects this.
"""

from collections.abc import Callable
from typing import Any

import keras
from keras import ops

from tailfit import keras_private as private
from tailfit.errors import StepError
from tailfit.training.divisor import divisor
from tailfit.training.step import Batch

__all__ = ["batch_loss", "compiled_losses", "is_vector", "mass", "over_targets", "penalty_of", "reduction_of", "times"]

MEAN, WEIGHTED, SUM = "sum_over_batch_size", "mean_with_sample_weight", "sum"


def compiled_losses(model: keras.Model) -> list[Any]:
    """Return the losses passed to `compile`, without the entries of outputs that have no loss."""
    return [loss for loss in keras.tree.flatten(getattr(model, "loss", None)) if loss is not None]


def reduction_of(model: keras.Model) -> str:
    """Return the reduction of the compiled losses: `sum_over_batch_size`, `mean_with_sample_weight` or `sum`.

    Raises:
        StepError: If their reductions differ, or a loss has none.
    """
    losses = compiled_losses(model)
    found = {getattr(loss, "reduction", MEAN) for loss in losses} or {MEAN}
    found = {MEAN if name == "mean" else name for name in found}
    if len(found) > 1 or not found <= {MEAN, WEIGHTED, SUM}:
        raise StepError(
            f"losses with the reductions {sorted(map(str, found))}",
            expected=f"one of {MEAN!r}, {WEIGHTED!r} and {SUM!r} for all outputs",
            fix="give all losses of the model the same reduction=",
        )
    return str(found.pop())


def over_targets(model: keras.Model, batch: Batch, y_pred: Any, value: Callable[[Any, Any], Any]) -> tuple[Any, Any]:
    """Return the sum over the targets of `share * value(y, sample_weight)`, and the sum of the factors."""
    total, factors = 0.0, 0.0
    for target in batch.targets:
        weight, share = target.sample_weight, target.share
        if is_vector(share):
            shared = keras.tree.map_structure(lambda pred, w=weight, s=share: times(s, w, pred), y_pred)
            if keras.tree.is_nested(y_pred) and weight is not None:
                shared = keras.tree.map_structure(
                    lambda w, pred, s=share: times(s, w, pred), _like(weight, y_pred), y_pred
                )
            share = 1.0
            if reduction_of(model) == WEIGHTED:
                share = ops.divide_no_nan(mass(model, shared, y_pred), mass(model, weight, y_pred))
            weight = shared
        total = total + share * value(target.y, weight)
        factors = factors + share
    return total, factors


def batch_loss(model: keras.Model, batch: Batch, y_pred: Any) -> Any:
    """Return the compiled loss over all targets plus `batch.penalties` times the penalties."""

    def value(y: Any, weight: Any) -> Any:
        return private.compute_loss(model, batch.x, y, y_pred, weight, training=True)

    first, *others = batch.targets
    if not others and _is_one(first.share) and _is_one(batch.penalties):
        return value(first.y, first.sample_weight)
    total, factors = over_targets(model, batch, y_pred, value)
    penalty = penalty_of(model)
    # compute_loss has added the penalty once for each target.
    return total if penalty is None else total + (batch.penalties - factors) * penalty


def penalty_of(model: keras.Model) -> Any:
    """Return the sum of `add_loss` and regularisers of the last pass; None if there are none."""
    losses = [ops.sum(ops.cast(loss, "float32")) for loss in model.losses]
    return sum(losses[1:], losses[0]) if losses else None


def mass(model: keras.Model, sample_weight: Any, y_pred: Any) -> Any:
    """Return the divisor of the compiled loss, up to a constant: unmasked values, or the sum of their weights.

    Raises:
        StepError: If there are several outputs with different divisors.
    """
    reduction = reduction_of(model)
    if reduction == SUM:
        return 1.0
    outputs = keras.tree.flatten(y_pred)
    masks = [private.get_keras_mask(output) for output in outputs]
    weighted = sample_weight is not None and reduction == WEIGHTED
    if len(outputs) > 1 and (weighted or any(mask is not None for mask in masks)):
        raise StepError(
            f"a model with {len(outputs)} outputs, and masks or reduction={WEIGHTED!r}",
            expected="one output, or losses reduced by a plain mean or sum",
            fix=f"use reduction={MEAN!r} in the losses",
        )
    weight = keras.tree.flatten(sample_weight)[0] if weighted else None
    return ops.cast(divisor(reduction, outputs[0], weight, masks[0]), "float32")


def times(share: Any, sample_weight: Any, y_pred: Any) -> Any:
    """Return `share * sample_weight`, one number per value of the loss; a weight of None is 1."""
    weight = _ones(y_pred) if sample_weight is None else ops.convert_to_tensor(sample_weight)
    share, weight = ops.cast(share, "float32"), ops.cast(weight, "float32")
    while len(share.shape) < len(weight.shape):
        share = ops.expand_dims(share, -1)
    while len(weight.shape) < len(share.shape):
        weight = ops.expand_dims(weight, -1)
    return share * weight


def is_vector(share: Any) -> bool:
    """Return whether a share is one number per sample."""
    return len(getattr(share, "shape", ())) > 0


def _is_one(share: Any) -> bool:
    return isinstance(share, int | float) and share == 1


def _ones(y_pred: Any) -> Any:
    """Return ones in the shape of the loss values: predictions without their last axis."""
    return ops.ones_like(y_pred[..., 0] if len(y_pred.shape) > 1 else y_pred, dtype="float32")


def _like(weight: Any, y_pred: Any) -> Any:
    """Return weights in the structure of the predictions: the same for all outputs, or one each."""
    flat = keras.tree.flatten(weight)
    count = len(keras.tree.flatten(y_pred))
    return keras.tree.pack_sequence_as(y_pred, flat * count if len(flat) == 1 else flat)
