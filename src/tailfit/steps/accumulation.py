"""Gradient accumulation: the gradient of a large batch from several small passes."""

from typing import Any

import keras
from keras import ops

from tailfit.errors import ArgumentError, StepError
from tailfit.keras_private import get_keras_mask, set_keras_mask
from tailfit.steps.tensors import combined, map_arrays
from tailfit.training.divisor import rows_of
from tailfit.training.shares import SUM, WEIGHTED, is_vector, mass, reduction_of
from tailfit.training.step import Batch, Compute, Step, Target

__all__ = ["Accumulate"]


@keras.saving.register_keras_serializable(package="tailfit")
class Accumulate(Step):
    """Splits each batch into `parts` passes, whose gradients add up to exactly the gradient of the whole batch.

    This holds for every reduction of the loss: each part counts by its number of samples; with
    "mean_with_sample_weight" by its sum of weights, where dividing by the number of parts would be wrong; with "sum"
    by 1. Memory is needed for one part only. BatchNormalization and `SmallLoss` see parts, not the batch.

    Args:
        parts: Number of parts, >= 1; a batch with fewer samples is split into fewer.
    Shapes: inputs, labels and weights with `batch` rows.
    Raises:
        ArgumentError: If `parts` is not an integer >= 1.
        StepError: At the first step, for several outputs with weights and reduction "mean_with_sample_weight".

    >>> import keras, numpy as np, tailfit
    >>> inputs = keras.Input((1,))
    >>> model = tailfit.Model(inputs, keras.layers.Dense(1, use_bias=False, kernel_initializer="zeros")(inputs))
    >>> loss = keras.losses.MeanSquaredError(reduction="mean_with_sample_weight")
    >>> model.compile(keras.optimizers.SGD(0.5), loss, steps=[tailfit.steps.Accumulate(parts=2)])
    >>> x, y, weights = np.ones((4, 1)), np.array([1.0, 2.0, 3.0, 4.0]), np.array([3.0, 3.0, 1.0, 1.0])
    >>> history = model.fit(x, y, sample_weight=weights, batch_size=4, verbose=0)
    >>> float(model.get_weights()[0].item())  # the weighted mean of y
    2.0
    """

    def __init__(self, *, parts: int) -> None:
        if isinstance(parts, bool) or not isinstance(parts, int) or parts < 1:
            raise ArgumentError(
                f"parts={parts!r}",
                expected="a whole number >= 1",
                fix="pass parts=4, for example, to need a quarter of the memory",
            )
        self.parts = parts

    def gradients(self, model: keras.Model, compute: Compute, batch: Batch) -> tuple[tuple[Any, Any], list[Any]]:
        rows = rows_of(batch.x)
        count = min(self.parts, rows) if isinstance(rows, int) else self.parts
        if count <= 1:
            return compute(batch)
        passes = []
        for number in range(count):
            low, high, kept = _bounds(number, count, rows)
            part, share = _part_of(model, batch, (low, high), kept, rows)
            (loss, y_pred), gradients = compute(part)
            y_pred = y_pred if isinstance(kept, int) else map_arrays(lambda pred, n=kept: pred[:n], y_pred)
            passes.append((part, share, loss, y_pred, gradients))
        factors = _mask_factors(model, passes)
        loss = sum(factor * part[2] for factor, part in zip(factors, passes, strict=True))
        y_pred = map_arrays(_concatenated, *(part[3] for part in passes))
        gradients = combined(
            lambda *parts: sum(ops.cast(f, g.dtype) * g for f, g in zip(factors, parts, strict=True)),
            *(part[4] for part in passes),
        )
        return (loss, y_pred), gradients

    def get_config(self) -> dict[str, Any]:
        return {"parts": self.parts}


def _bounds(number: int, count: int, rows: Any) -> tuple[Any, Any, Any]:
    """Return the first row of a part, the row after its last, and how many of its rows count.

    While TensorFlow traces, the number of rows may be unknown. If it turns out smaller than the number of parts, some
    part is empty; it gets one row that does not count, since the loss of no rows is NaN.
    """
    low, high = number * rows // count, (number + 1) * rows // count
    if isinstance(rows, int):
        return low, high, high - low
    start = ops.minimum(low, rows - 1)
    return start, ops.maximum(high, start + 1), high - low


def _part_of(model: keras.Model, batch: Batch, bounds: tuple[Any, Any], kept: Any, rows: Any) -> tuple[Batch, Any]:
    """Return some rows of a batch, with shares such that the losses of all parts add up to the loss of the batch."""
    low, high = bounds

    def cut(array: Any) -> Any:
        return array[low:high]

    counted = ops.cast(kept, "float32") / ops.cast(rows, "float32")
    shares, targets = [], []
    for target in batch.targets:
        share = _share_of_part(model, target, cut, kept, counted)
        whole = map_arrays(cut, target.share) if is_vector(target.share) else target.share
        y, weight = map_arrays(cut, (target.y, target.sample_weight))
        targets.append(Target(y, weight, whole * share))
        shares.append(share)
    x, fields = map_arrays(cut, (batch.x, dict(batch.fields)))
    return Batch(x, tuple(targets), batch.penalties * counted, fields), shares[0]


def _share_of_part(model: keras.Model, target: Target, cut: Any, kept: Any, counted: Any) -> Any:
    """Return the factor of a part's loss, reduced by itself, in the loss of the whole batch."""
    reduction = reduction_of(model)
    if reduction == SUM:
        return ops.cast(ops.minimum(kept, 1), "float32")
    if reduction != WEIGHTED or target.sample_weight is None:
        return counted
    if keras.tree.is_nested(target.sample_weight):
        raise StepError(
            "weights of several outputs under reduction='mean_with_sample_weight'",
            expected="one array of weights, or losses reduced by a plain mean or sum",
            fix="use reduction='sum_over_batch_size' in the losses, or drop Accumulate",
        )
    weight = ops.cast(target.sample_weight, "float32")
    share = ops.divide_no_nan(ops.sum(cut(weight)), ops.sum(weight))
    return share * ops.cast(ops.minimum(kept, 1), "float32")


def _mask_factors(model: keras.Model, passes: list[Any]) -> list[Any]:
    """Return factors that correct the shares for the masks of predictions, which are known only after the pass."""
    masked = any(get_keras_mask(pred) is not None for pred in keras.tree.flatten(passes[0][3]))
    if not masked or reduction_of(model) == SUM:
        return [1.0] * len(passes)
    masses = [mass(model, part.targets[0].sample_weight, y_pred) for part, _, _, y_pred, _ in passes]
    total = sum(masses)
    return [ops.divide_no_nan(own, total * share) for own, (_, share, *_) in zip(masses, passes, strict=True)]


def _concatenated(*parts: Any) -> Any:
    whole = ops.concatenate(parts, axis=0)
    masks = [get_keras_mask(part) for part in parts]
    if masks[0] is not None:
        set_keras_mask(whole, ops.concatenate(masks, axis=0))
    return whole
