"""What every metric over C classes shares: labels of both forms, weights, masks; sums that are streamed and exact.

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

from abc import abstractmethod
from typing import Any, NamedTuple

import keras
from keras import ops

from tailfit.errors import ArgumentError
from tailfit.keras_private import improves
from tailfit.targets import Tensor, class_count, codes_of, mask_of, with_shape

__all__ = ["ClassMetric", "ConfusionMetric", "Judged", "SumMetric", "ratio", "sum_of_others", "total"]


class Judged(NamedTuple):
    """A batch as metrics take it: scores `(batch, ..., C)`; codes, weights and which codes are none `(batch, ...)`."""

    scores: Tensor
    truth: Tensor
    weight: Tensor
    unknown: Tensor


@improves("up")
class ClassMetric(keras.metrics.Metric):
    """Base of all: the number of classes, known at the first update at the latest, and batches brought to one form.

    Args:
        num_classes: C; None takes it from the scores at the first update.
        name, dtype: As in `keras.metrics.Metric`. `dtype` is the result's; sums are float32 (float64 for float64).
    """

    _least_classes = 2
    _one_output_fix = (  # instead of one column of scores
        "end the network in Dense(2), one output a class; of one sigmoid output keras.metrics.BinaryAccuracy and "
        "tailfit.metrics.RocAuc(multi_label=True) can be taken"
    )

    def __init__(self, *, num_classes: int | None, name: str | None, dtype: Any) -> None:
        super().__init__(name=name, dtype=dtype)
        least = self._least_classes
        if num_classes is not None and (
            isinstance(num_classes, bool) or not isinstance(num_classes, int) or num_classes < least
        ):
            raise ArgumentError(
                f"num_classes={num_classes!r}",
                expected=f"a whole number >= {least}",
                fix="leave it out: the scores' last axis tells it",
            )
        self.num_classes = num_classes
        self._classes = num_classes
        if num_classes is not None:
            self._create(num_classes)

    @abstractmethod
    def _create(self, classes: int) -> None:
        """Make the variables."""

    @property
    def _sum_dtype(self) -> str:
        return "float64" if self.dtype == "float64" else "float32"

    def _expect(self, classes: int, scores: Tensor) -> None:
        """Create for C classes; refuse another number of them than before."""
        if self._classes is None:
            self._classes = classes
            self._create(classes)
        elif self._classes != classes:
            raise ArgumentError(
                f"y_pred of shape {tuple(scores.shape)} for {self.name!r} of {self._classes} classes",
                expected="as many scores as classes",
                fix="leave num_classes out, and use one metric object for each output",
            )

    def _judged(self, y_true: Tensor, y_pred: Tensor, sample_weight: Tensor) -> Judged:
        y_pred = with_shape(y_pred)
        taker = f"the metric {self.name!r}"
        self._expect(class_count(y_pred, taker=taker, fix=self._one_output_fix), y_pred)
        truth, known = codes_of(y_true, y_pred)
        weight = self._weights(truth, y_pred, sample_weight)
        return Judged(y_pred, truth, weight, ops.logical_and(ops.logical_not(known), weight != 0))

    def _weights(self, like: Tensor, y_pred: Tensor, sample_weight: Tensor) -> Tensor:
        """Sample weights times the mask, of the shape of `like`."""
        weight = ops.ones_like(like, dtype=self._sum_dtype)
        for factor in (sample_weight, mask_of(y_pred)):
            if factor is not None:
                weight = weight * _like(factor, like, self._sum_dtype)
        return weight

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "num_classes": self.num_classes}


class SumMetric(ClassMetric):
    """Base of the metrics that are functions of a few sums over samples, each kept in two floats."""

    _sums: Any = None
    _rests: Any = None

    @abstractmethod
    def _shape(self, classes: int) -> tuple[int, ...]:
        """Of the sums."""

    def _create(self, classes: int) -> None:
        shape, dtype = self._shape(classes), self._sum_dtype
        self._sums = self.add_variable(shape, "zeros", dtype, name="sums")
        self._rests = self.add_variable(shape, "zeros", dtype, name="rests")

    def _add(self, batch: Tensor, wrong: Tensor) -> None:
        """Add a batch's sums; NaN where `wrong` says that a label or a score was none."""
        # Said outright: a NaN weight would not do, since XLA makes a selection of a product with 0 and 1, and
        # what is not selected then is 0, never NaN.
        batch = ops.where(wrong, ops.full_like(batch, float("nan")), batch)
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


class ConfusionMetric(SumMetric):
    """Base of the metrics computed from hits, misses and false alarms; subclasses give `result`."""

    def _shape(self, classes: int) -> tuple[int, ...]:
        return (3, classes)

    def update_state(self, y_true: Tensor, y_pred: Tensor, sample_weight: Tensor = None) -> None:
        """Count a batch.

        Args:
            y_true: Class codes `(batch, ...)` or `(batch, ..., 1)`, or one-hot or soft labels `(batch, ..., C)`,
                which count for their largest class. A code outside [0, C) turns the result NaN, unless its
                weight is 0.
            y_pred: Scores `(batch, ..., C)`: logits or probabilities alike, the largest is the class called.
            sample_weight: Weights `(batch,)`, `(batch, 1)` or of the codes' shape.
        """
        scores, truth, weight, unknown = self._judged(y_true, y_pred, sample_weight)
        numbers = ops.arange(scores.shape[-1], dtype="int32")
        is_true = ops.equal(ops.expand_dims(truth, -1), numbers)
        is_called = ops.equal(ops.expand_dims(ops.cast(ops.argmax(scores, axis=-1), "int32"), -1), numbers)
        weight = ops.expand_dims(weight, -1)
        cells = [
            ops.logical_and(is_true, is_called),
            ops.logical_and(is_true, ops.logical_not(is_called)),
            ops.logical_and(ops.logical_not(is_true), is_called),
        ]
        batch = ops.stack([total(ops.cast(cell, self._sum_dtype) * weight) for cell in cells])
        self._add(batch, ops.any(unknown))

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


def ratio(part: Tensor, whole: Tensor) -> Tensor:
    """`part / whole`, and 0 where the whole is 0. A NaN whole stays NaN: it says that a label was wrong."""
    empty = ops.equal(whole, 0)
    return ops.where(empty, ops.zeros_like(part), part / ops.where(empty, ops.ones_like(whole), whole))


def sum_of_others(values: Tensor) -> Tensor:
    """For each class, on the last axis, the sum of the others: `total - value` has no digits left where it is all."""
    return _sum_before(values) + ops.flip(_sum_before(ops.flip(values, axis=-1)), axis=-1)


def total(values: Tensor) -> Tensor:
    """Sum over all axes but the last."""
    return ops.sum(ops.reshape(values, (-1, values.shape[-1])), axis=0)


def _sum_before(values: Tensor) -> Tensor:
    start = [(0, 0)] * (len(values.shape) - 1) + [(1, 0)]
    return ops.pad(ops.cumsum(values, axis=-1), start)[..., :-1]


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
            expected="one weight a sample, (batch,) or (batch, 1), or of the codes' shape",
            fix="drop the last axes",
        )
    return weight
