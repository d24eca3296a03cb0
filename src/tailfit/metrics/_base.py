"""Base classes of the metrics over C classes: label forms, weights and masks; exact sums over batches.

Concepts:
- *hits, misses, false alarms* of each class: its true positives, false negatives and false positives. Recall,
  precision, F1, specificity, kappa and the rest are functions of these three rows of C numbers; the C x C confusion
  matrix is never built. The three sums are kept separately and never subtracted from each other, so that the count of
  a rare class keeps all digits next to a frequent one.
- *Two floats per number*. A float32 sum stops at 2**24: 16,777,216 + 1 is 16,777,216. The rounding error of each
  addition is kept in a second float32 (Knuth's two-sum), so counts are exact up to 2**48, and sums of weights to about
  14 digits of what each batch added, on every backend and device.
- A class is *present* if the total weight of its hits and misses is greater than 0.
- Sums run over `[batch, C]` in the order of the batch. A scatter-add would sum in a nondeterministic order on a GPU.
- torch on a CPU updates the sums with NumPy, see `_arrays`.
"""

from abc import abstractmethod
from collections.abc import Callable
from typing import Any, NamedTuple

import keras
from keras import ops

from tailfit.errors import ArgumentError
from tailfit.keras_private import improves
from tailfit.metrics._arrays import add_confusion, shares_memory
from tailfit.targets import Tensor, class_count, class_indices_of, is_dense, mask_of, with_shape
from tailfit.whole_calls import call_whole

__all__ = [
    "ClassMetric",
    "ConfusionMetric",
    "MetricBatch",
    "SumMetric",
    "ratio",
    "sum_of_others",
    "total",
]


class MetricBatch(NamedTuple):
    """A batch in the form that the metrics share."""

    scores: Tensor  # (batch, ..., C)
    truth: Tensor  # class indices, int32 (batch, ...)
    weight: Tensor  # sample weight times mask (batch, ...)
    valid: Tensor  # bool (batch, ...): the class index is valid, or its weight is 0


@improves("up")
class ClassMetric(keras.metrics.Metric):
    """Base of all metrics: determines the number of classes, and converts batches to one form.

    Args:
        num_classes: C, or None to infer it from the scores at the first update.
        name, dtype: As in `keras.metrics.Metric`. `dtype` is the dtype of the result; sums are float32 (float64 for
            float64).
    """

    _min_classes = 2
    _one_output_fix = (  # for scores with one column
        "end the network in Dense(2), one output per class; for one sigmoid output use keras.metrics.BinaryAccuracy or "
        "tailfit.metrics.RocAuc(multi_label=True)"
    )

    def __init__(self, *, num_classes: int | None, name: str | None, dtype: Any) -> None:
        super().__init__(name=name, dtype=dtype)
        least = self._min_classes
        if num_classes is not None and (
            isinstance(num_classes, bool) or not isinstance(num_classes, int) or num_classes < least
        ):
            raise ArgumentError(
                f"num_classes={num_classes!r}",
                expected=f"a whole number >= {least}",
                fix="omit num_classes: it is inferred from the last axis of the scores",
            )
        self.num_classes = num_classes
        self._classes = num_classes
        if num_classes is not None:
            self._create(num_classes)

    @abstractmethod
    def _create(self, classes: int) -> None:
        """Create the state variables for C classes."""

    @abstractmethod
    def _state(self) -> tuple[keras.Variable, ...]:
        """Return the state variables, in the order in which the update of `_arrays` takes them."""

    @property
    def _sum_dtype(self) -> str:
        return "float64" if self.dtype == "float64" else "float32"

    def _expect(self, classes: int, scores: Tensor) -> None:
        """Create the state at the first update; later, raise if the number of classes changes."""
        if self._classes is None:
            self._classes = classes
            self._create(classes)
        elif self._classes != classes:
            raise ArgumentError(
                f"y_pred of shape {tuple(scores.shape)} for {self.name!r} with {self._classes} classes",
                expected=f"{self._classes} scores per sample, one per class",
                fix="omit num_classes, and use a separate metric object for each output",
            )

    def _checked(self, y_true: Tensor, y_pred: Tensor) -> tuple[Tensor, Tensor]:
        """Return labels and scores as tensors after checks of their shapes; create the state at the first update."""
        y_pred = with_shape(y_pred)
        consumer = f"the metric {self.name!r}"
        self._expect(class_count(y_pred, consumer=consumer, fix=self._one_output_fix), y_pred)
        y_true = ops.convert_to_tensor(y_true)
        is_dense(y_true, y_pred)  # raises for other shapes
        return y_true, y_pred

    def _prepared(self, y_true: Tensor, y_pred: Tensor, sample_weight: Tensor) -> MetricBatch:
        """Return a batch that `_checked` returned."""
        truth, valid = class_indices_of(y_true, y_pred)
        weight = self._weights(truth, y_pred, sample_weight)
        if sample_weight is not None or mask_of(y_pred) is not None:
            valid = ops.logical_or(valid, weight == 0)
        return MetricBatch(y_pred, truth, weight, valid)

    def _update_arrays(
        self, update: Callable[..., None], y_true: Tensor, y_pred: Tensor, sample_weight: Tensor, *options: Any
    ) -> bool:
        """Call an update of `_arrays` if NumPy can change the state now, and return whether it can.

        Args:
            update: The update.
            y_true, y_pred, sample_weight: A batch that `_checked` returned.
            options: Further arguments of the update.
        """
        state = self._state()
        if self._sum_dtype != "float32" or not shares_memory(state[0]):
            return False
        scores = _readable(y_pred)
        weighted = sample_weight is not None or mask_of(y_pred) is not None
        weight = self._weights(scores[..., 0], y_pred, sample_weight) if weighted else None
        values = [variable.value for variable in state]
        call_whole(update, *values, _readable(y_true), scores, weight, *options, writes=range(len(values)))
        return True

    def _weights(self, like: Tensor, y_pred: Tensor, sample_weight: Tensor) -> Tensor:
        """Return the sample weights times the mask, in the shape of `like`."""
        if None in like.shape:
            weight = ops.ones_like(like, dtype=self._sum_dtype)
        else:  # a constant, which a recorded step computes once
            weight = ops.ones(tuple(like.shape), dtype=self._sum_dtype)
        for factor in (sample_weight, mask_of(y_pred)):
            if factor is not None:
                weight = weight * _broadcastable(factor, like, self._sum_dtype)
        return weight

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "num_classes": self.num_classes}


class SumMetric(ClassMetric):
    """Base of the metrics that are functions of a few sums over samples; each sum is kept in two floats."""

    _sums: Any = None
    _rests: Any = None

    @abstractmethod
    def _shape(self, classes: int) -> tuple[int, ...]:
        """Return the shape of the sums."""

    def _create(self, classes: int) -> None:
        shape, dtype = self._shape(classes), self._sum_dtype
        self._sums = self.add_variable(shape, "zeros", dtype, name="sums")
        self._rests = self.add_variable(shape, "zeros", dtype, name="rests")

    def _state(self) -> tuple[keras.Variable, ...]:
        return self._sums, self._rests

    def _add(self, batch: Tensor, all_valid: Tensor) -> None:
        """Add the sums of a batch, or NaN unless `all_valid`: the batch has no invalid label or score."""
        # Set explicitly. A NaN weight is not enough: XLA turns products with 0 or 1 into a selection, and 0 * NaN
        # becomes 0.
        batch = ops.where(all_valid, batch, float("nan"))  # not full_like, which on torch reads the number back
        # Two-sum: `total` is the rounded sum, and `lost` is exactly its rounding error.
        old = ops.convert_to_tensor(self._sums)
        total = old + batch
        arrived = total - old
        lost = (old - (total - arrived)) + (batch - arrived)
        # Carry the accumulated errors into the sum once they reach its resolution; else they would stop at 2**24, too.
        rest = self._rests + lost
        carried = total + rest
        self._sums.assign(carried)
        self._rests.assign(rest - (carried - total))


class ConfusionMetric(SumMetric):
    """Base of the metrics computed from hits, misses and false alarms; subclasses define `result`."""

    def _shape(self, classes: int) -> tuple[int, ...]:
        return (3, classes)

    def update_state(self, y_true: Tensor, y_pred: Tensor, sample_weight: Tensor = None) -> None:
        """Count the samples of a batch.

        Args:
            y_true: Class indices `(batch, ...)` or `(batch, ..., 1)`, or one-hot or soft labels `(batch, ..., C)`, of
                which the largest entry is the class. An index outside [0, C) makes the result NaN, unless its weight
                is 0.
            y_pred: Scores `(batch, ..., C)`, logits or probabilities: the largest is the predicted class.
            sample_weight: Weights `(batch,)`, `(batch, 1)` or in the shape of the class indices.
        """
        y_true, y_pred = self._checked(y_true, y_pred)
        if self._update_arrays(add_confusion, y_true, y_pred, sample_weight):
            return
        scores, truth, weight, valid = self._prepared(y_true, y_pred, sample_weight)
        classes = scores.shape[-1]
        predicted = ops.cast(ops.argmax(scores, axis=-1), "int32")
        wrong = truth != predicted
        # A sample is in one cell of (3, C) if its prediction is correct, else in two: one comparison with all of them.
        cells = ops.stack([ops.where(wrong, truth + classes, truth), predicted + 2 * classes])
        weights = ops.stack([weight, ops.where(wrong, weight, 0.0)])
        hot = ops.expand_dims(cells, -1) == ops.arange(3 * classes, dtype="int32")
        batch = ops.reshape(total(ops.where(hot, ops.expand_dims(weights, -1), 0.0)), (3, classes))
        self._add(batch, ops.all(valid))

    def counts(self) -> tuple[Tensor, Tensor, Tensor]:
        """Return hits, misses and false alarms, each `(C,)`; empty while C is unknown."""
        if self._sums is None:
            nothing = ops.zeros((0,), dtype="float32")
            return nothing, nothing, nothing
        counts = self._sums + self._rests
        return counts[0], counts[1], counts[2]

    def present_mean(self, values: Tensor, present: Tensor) -> Tensor:
        """Return the mean of `values` over the classes that are `present`, or 0, in the dtype of the metric."""
        chosen = ops.where(present, values, ops.zeros_like(values))
        count = ops.sum(ops.cast(present, values.dtype))
        return ops.cast(ops.sum(chosen) / ops.where(count == 0, ops.ones_like(count), count), self.dtype)


def ratio(part: Tensor, whole: Tensor) -> Tensor:
    """Return `part / whole`, and 0 where `whole` is 0. A NaN in `whole`, which marks an invalid label, stays NaN."""
    empty = ops.equal(whole, 0)
    return ops.where(empty, ops.zeros_like(part), part / ops.where(empty, ops.ones_like(whole), whole))


def sum_of_others(values: Tensor) -> Tensor:
    """Return for each class, on the last axis, the sum over all other classes.

    `total - value` would lose all digits where one value makes up nearly the whole sum.
    """
    return _sum_before(values) + ops.flip(_sum_before(ops.flip(values, axis=-1)), axis=-1)


def total(values: Tensor) -> Tensor:
    """Return the sum over all axes but the last."""
    return ops.sum(ops.reshape(values, (-1, values.shape[-1])), axis=0)


def _sum_before(values: Tensor) -> Tensor:
    start = [(0, 0)] * (len(values.shape) - 1) + [(1, 0)]
    return ops.pad(ops.cumsum(values, axis=-1), start)[..., :-1]


def _broadcastable(weight: Any, codes: Tensor, dtype: str) -> Tensor:
    """Return `weight` with as many axes as `codes`, ready to broadcast over missing ones."""
    weight = ops.cast(weight, dtype)
    if len(weight.shape) == len(codes.shape) + 1 and weight.shape[-1] == 1:
        weight = ops.squeeze(weight, axis=-1)
    while len(weight.shape) < len(codes.shape):
        weight = ops.expand_dims(weight, axis=-1)
    if len(weight.shape) > len(codes.shape):
        raise ArgumentError(
            f"sample_weight of shape {tuple(weight.shape)} with class indices of shape {tuple(codes.shape)}",
            expected="one weight per sample, (batch,) or (batch, 1), or one per class index",
            fix="remove the extra axes of sample_weight",
        )
    return weight


def _readable(values: Tensor) -> Tensor:
    """Return a tensor without gradient, in a dtype of NumPy."""
    tensor = ops.stop_gradient(ops.convert_to_tensor(values))
    return ops.cast(tensor, "float32") if keras.backend.standardize_dtype(tensor.dtype) == "bfloat16" else tensor
