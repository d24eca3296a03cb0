"""What every metric over C exclusive classes shares: margins of the confusion matrix, streamed and exact.

Concepts:
- *hits, misses, false alarms* of each class: samples of the class called so, samples of the class called
  otherwise, samples of others called so. Recall, precision, F1, specificity, kappa and the rest are
  functions of these three rows of C numbers; the C x C matrix is never built. They are kept as three
  sums of their own and never subtracted, so that a rare class loses no digits beside a common one.
- *Two floats a number*. A float32 sum stops at 2**24: 16,777,216 + 1 is 16,777,216. What an addition rounds
  away is kept in a second float32 (Knuth's two-sum), so counts are exact up to 2**48, and sums of weights
  to about 14 digits of what each batch added, on every backend and device.
- A class is *present* where its hits and misses weigh more than 0.
- Sums run over `[batch, C]` in the order of the batch, never as a scatter, whose order a GPU picks anew each time.
"""

from typing import Any

import keras
from keras import ops

from tailfit.errors import ArgumentError
from tailfit.losses._targets import Tensor, class_count, codes_of, mask_of, with_shape

__all__ = ["ConfusionMetric", "ratio"]


class ConfusionMetric(keras.metrics.Metric):
    """Base of the metrics computed from hits, misses and false alarms; subclasses give `result`.

    Args:
        num_classes: C; None takes it from the scores at the first update.
        name, dtype: As in `keras.metrics.Metric`. Sums are float32 pairs whatever `dtype` is (float64 pairs
            for float64); `dtype` is the result's.
    """

    def __init__(self, *, num_classes: int | None, name: str | None, dtype: Any) -> None:
        super().__init__(name=name, dtype=dtype)
        if num_classes is not None and (
            isinstance(num_classes, bool) or not isinstance(num_classes, int) or num_classes < 2
        ):
            raise ArgumentError(
                f"num_classes={num_classes!r}",
                allowed="a whole number >= 2",
                mend="leave it out: the scores' last axis tells it",
            )
        self.num_classes = num_classes
        self._sums: Any = None
        self._rests: Any = None
        if num_classes is not None:
            self._create(num_classes)

    def _create(self, num_classes: int) -> None:
        shape, dtype = (3, num_classes), "float64" if self.dtype == "float64" else "float32"
        self._sums = self.add_variable(shape, "zeros", dtype, name="sums")
        self._rests = self.add_variable(shape, "zeros", dtype, name="rests")

    def update_state(self, y_true: Tensor, y_pred: Tensor, sample_weight: Tensor = None) -> None:
        """Count a batch.

        Args:
            y_true: Class codes `(batch, ...)` or `(batch, ..., 1)`, or one-hot or soft labels `(batch, ..., C)`,
                which count for their largest class. A code outside [0, C) turns the result NaN, unless its
                weight is 0.
            y_pred: Scores `(batch, ..., C)`: logits or probabilities alike, the largest is the class called.
            sample_weight: Weights `(batch,)`, `(batch, 1)` or of the codes' shape.
        """
        y_pred = with_shape(y_pred)
        classes = class_count(y_pred)
        if self._sums is None:
            self._create(classes)
        elif self._sums.shape[1] != classes:
            raise ArgumentError(
                f"y_pred of shape {tuple(y_pred.shape)} for {self.name!r} of {self._sums.shape[1]} classes",
                allowed="as many scores as classes",
                mend="leave num_classes out, and use one metric object for each output",
            )
        truth, known = codes_of(y_true, y_pred)
        dtype = self._sums.dtype
        weight = ops.ones_like(truth, dtype=dtype)
        for factor in (sample_weight, mask_of(y_pred)):
            if factor is not None:
                weight = weight * _like(factor, truth, dtype)
        unknown = ops.any(ops.logical_and(ops.logical_not(known), weight != 0))

        numbers = ops.arange(classes, dtype="int32")
        is_true = ops.equal(ops.expand_dims(truth, -1), numbers)
        is_called = ops.equal(ops.expand_dims(ops.cast(ops.argmax(y_pred, axis=-1), "int32"), -1), numbers)
        weight = ops.expand_dims(weight, -1)
        cells = [
            ops.logical_and(is_true, is_called),
            ops.logical_and(is_true, ops.logical_not(is_called)),
            ops.logical_and(ops.logical_not(is_true), is_called),
        ]
        batch = ops.stack([_total(ops.cast(cell, dtype) * weight) for cell in cells])
        # Said outright: a NaN weight would not do, since XLA makes a selection of the product above, and
        # what is not selected then is 0, never NaN.
        self._add(ops.where(unknown, ops.full_like(batch, float("nan")), batch))

    def _add(self, batch: Tensor) -> None:
        # Two-sum: `total` is the rounded sum, and `lost`, exactly, what its rounding dropped.
        old = ops.convert_to_tensor(self._sums)
        total = old + batch
        arrived = total - old
        lost = (old - (total - arrived)) + (batch - arrived)
        # What was lost may by now be worth a step of the sum: carried over, or it would itself stop at 2**24.
        rest = self._rests + lost
        carried = total + rest
        self._sums.assign(carried)
        self._rests.assign(rest - (carried - total))

    def counts(self) -> tuple[Tensor, Tensor, Tensor]:
        """Hits, misses and false alarms, each `(C,)`; empty before anything tells C."""
        if self._sums is None:
            nothing = ops.zeros((0,), dtype="float32")
            return nothing, nothing, nothing
        counts = self._sums + self._rests
        return counts[0], counts[1], counts[2]

    def present_mean(self, values: Tensor, present: Tensor) -> Tensor:
        """Mean of `values` over the classes where `present`, in the metric's dtype; 0 where there is none."""
        chosen = ops.where(present, values, ops.zeros_like(values))
        count = ops.sum(ops.cast(present, values.dtype))
        return ops.cast(ops.sum(chosen) / ops.where(count == 0, ops.ones_like(count), count), self.dtype)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "num_classes": self.num_classes}


def ratio(part: Tensor, whole: Tensor) -> Tensor:
    """`part / whole`, and 0 where the whole is 0. A NaN whole stays NaN: it says that a label was wrong."""
    empty = ops.equal(whole, 0)
    return ops.where(empty, ops.zeros_like(part), part / ops.where(empty, ops.ones_like(whole), whole))


def _total(values: Tensor) -> Tensor:
    return ops.sum(ops.reshape(values, (-1, values.shape[-1])), axis=0)


def _like(weight: Any, codes: Tensor, dtype: str) -> Tensor:
    """`weight` with the axes of `codes`, ready to broadcast over those it lacks."""
    weight = ops.cast(weight, dtype)
    if len(weight.shape) == len(codes.shape) + 1 and weight.shape[-1] == 1:
        weight = ops.squeeze(weight, axis=-1)
    while len(weight.shape) < len(codes.shape):
        weight = ops.expand_dims(weight, axis=-1)
    if len(weight.shape) > len(codes.shape):
        raise ArgumentError(
            f"sample_weight of shape {tuple(weight.shape)} beside class codes of shape {tuple(codes.shape)}",
            allowed="one weight a sample, (batch,) or (batch, 1), or of the codes' shape",
            mend="drop the last axes",
        )
    return weight
