"""Metrics of ranking: does a class score its own samples above those of others, whatever the threshold.

Concepts:
- Each class is a two-class problem against the rest, and the metric the mean over the classes that have both sides.
- *Scores are kept*: two samples in one bin of a histogram are a tie that there was not, and one such pair among a
  hundred samples is an error of 1e-4. So the scores themselves are kept, up to `capacity` samples, in variables of
  fixed size, and the result is exact to float32. Beyond the capacity it is NaN, never a part passed off for the whole.
- *Log-odds*: exclusive classes are ranked by `z_c - log(sum of exp of the other logits)`, which orders them as the
  probability does, without the ties of probabilities that float32 rounds to 1.
"""

from abc import abstractmethod
from typing import Any

import keras
from keras import ops

from tailfit.arguments import REQUIRED, checked_flag
from tailfit.errors import ArgumentError
from tailfit.keras_private import in_stateless_scope
from tailfit.metrics._base import ClassMetric, ratio, sum_of_others
from tailfit.targets import Tensor, with_shape

__all__ = ["AveragePrecision", "RankingMetric", "RocAuc"]


class RankingMetric(ClassMetric):
    """Base: keeps the scores, sorts them, and counts what lies at or above each; subclasses give `of_classes`.

    Args:
        from_logits: Whether `y_pred` are logits. No default: leaving it out is an `ArgumentError`.
        multi_label: Whether y are rows of 0 and 1, each column a label of its own (sigmoid), and C may be 1.
        capacity: Samples that are kept; more turn the result NaN. Each step sorts them all.
        num_classes: C; None takes it from the scores at the first update.
        name, dtype: As in `keras.metrics.Metric`.
    """

    _least_classes = 1
    _one_output_fix = "pass multi_label=True, which takes one sigmoid output; or end the network in Dense(2)"
    _sum_dtype = "float32"  # also for float64: on torch Keras' cumsum and associative_scan know no other

    def __init__(
        self,
        *,
        from_logits: bool,
        multi_label: bool,
        capacity: int,
        num_classes: int | None,
        name: str | None,
        dtype: Any,
    ) -> None:
        if isinstance(capacity, bool) or not isinstance(capacity, int) or capacity < 1:
            raise ArgumentError(
                f"capacity={capacity!r}", expected="a whole number >= 1", fix="pass the size of the validation data"
            )
        if not isinstance(multi_label, bool):
            raise ArgumentError(f"multi_label={multi_label!r}", expected="True or False", fix="pass one of both")
        self.from_logits, self.multi_label, self.capacity = checked_flag(from_logits), multi_label, capacity
        super().__init__(num_classes=num_classes, name=name, dtype=dtype)

    def _create(self, classes: int) -> None:
        rows, dtype = self.capacity + 1, self._sum_dtype  # the last row takes what is not kept
        self._keys = self.add_variable((rows, classes), "zeros", dtype, name="keys")
        self._own = self.add_variable((rows, classes), "zeros", dtype, name="own")
        self._weighed = self.add_variable((rows,), "zeros", dtype, name="weights")
        self._kept = self.add_variable((), "zeros", "int32", name="kept")
        self._wrong = self.add_variable((), "zeros", "int32", name="wrong")

    def update_state(self, y_true: Tensor, y_pred: Tensor, sample_weight: Tensor = None) -> None:
        """Keep a batch.

        Args:
            y_true: Class codes `(batch, ...)` or `(batch, ..., 1)`, or one-hot or soft labels `(batch, ..., C)`,
                which count for their largest class; for `multi_label` rows `(batch, ..., C)` of 0 and 1. A code
                outside [0, C), or a NaN score, turns the result NaN, unless its weight is 0.
            y_pred: Scores `(batch, ..., C)`.
            sample_weight: Weights `(batch,)`, `(batch, 1)` or of the codes' shape. What weighs 0 is not kept.
        """
        keys, own, weight, wrong = self._rows(y_true, y_pred, sample_weight)
        classes = keys.shape[-1]
        keys, own, weight = (
            ops.reshape(keys, (-1, classes)),
            ops.reshape(own, (-1, classes)),
            ops.reshape(weight, (-1,)),
        )
        counts = ops.cast(weight != 0, "int32")
        places = ops.minimum(self._kept + ops.cumsum(counts) - 1, self.capacity)
        places = ops.expand_dims(ops.where(counts == 1, places, ops.full_like(places, self.capacity)), -1)
        for kept, new in ((self._keys, keys), (self._own, own), (self._weighed, weight)):
            kept.assign(ops.scatter_update(kept, places, new))
        # One more than the capacity says that it was not enough; counted no further, it can't overflow.
        self._kept.assign(ops.minimum(self._kept + ops.sum(counts), self.capacity + 1))
        wrong = ops.logical_or(wrong, ops.any(ops.logical_and(ops.any(ops.isnan(keys), axis=-1), weight != 0)))
        self._wrong.assign(ops.maximum(self._wrong, ops.cast(wrong, self._wrong.dtype)))

    def _rows(self, y_true: Tensor, y_pred: Tensor, sample_weight: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Keys and memberships `(batch, ..., C)`, weights `(batch, ...)`, and whether a label was none."""
        dtype = self._sum_dtype
        if not self.multi_label:
            scores, truth, weight, unknown = self._judged(y_true, y_pred, sample_weight)
            own = ops.equal(ops.expand_dims(truth, -1), ops.arange(scores.shape[-1], dtype="int32"))
            keys = ops.cast(scores, dtype)
            return _log_odds(keys) if self.from_logits else keys, ops.cast(own, dtype), weight, ops.any(unknown)
        y_pred = with_shape(y_pred)
        y_true = ops.convert_to_tensor(y_true)
        if len(y_true.shape) == len(y_pred.shape) - 1 and y_pred.shape[-1] == 1:
            y_true = ops.expand_dims(y_true, -1)
        if len(y_true.shape) != len(y_pred.shape) or y_true.shape[-1] != y_pred.shape[-1]:
            raise ArgumentError(
                f"y_true of shape {tuple(y_true.shape)} beside y_pred of shape {tuple(y_pred.shape)}",
                expected="rows of 0 and 1, one column a label, for multi_label=True",
                fix="leave multi_label out where each sample has one class",
            )
        self._expect(int(y_pred.shape[-1]), y_pred)
        own = ops.cast(y_true, dtype)
        weight = self._weights(own[..., 0], y_pred, sample_weight)
        odd = ops.any(ops.logical_and(own != 0, own != 1), axis=-1)
        return ops.cast(y_pred, dtype), own, weight, ops.any(ops.logical_and(odd, weight != 0))

    def result(self) -> Tensor:
        if self._classes is None:
            return ops.zeros((), dtype=self.dtype)
        wrong = ops.logical_or(self._kept > self.capacity, self._wrong > 0)
        nothing = ops.full((), float("nan"), dtype=self._sum_dtype)
        if keras.backend.backend() == "jax" and not in_stateless_scope():  # where a branch is compiled anew each time
            mean = ops.where(wrong, nothing, self._exact())
        else:
            mean = ops.cond(wrong, lambda: nothing, self._exact)  # steps beyond the capacity sort nothing
        return ops.cast(mean, self.dtype)

    def _exact(self) -> Tensor:
        keys, own = ops.convert_to_tensor(self._keys)[:-1], ops.convert_to_tensor(self._own)[:-1]
        # Rows never filled weigh 0, and those of an earlier epoch do since reset_state.
        weight = ops.convert_to_tensor(self._weighed)[:-1, None]
        order = ops.argsort(-keys, axis=0)
        keys, hits, rest = (ops.take_along_axis(x, order, axis=0) for x in (keys, weight * own, weight * (1 - own)))
        above = ops.stack([ops.cumsum(hits, axis=0), ops.cumsum(rest, axis=0)])
        # A threshold can't part equal scores: each sample sees what is at or above the last of its equals.
        last = ops.expand_dims(_last_of_equals(keys), 0)
        above = ops.take_along_axis(above, ops.repeat(last, 2, axis=0), axis=1)
        sizes = ops.sum(hits, axis=0), ops.sum(rest, axis=0)
        values, counted = self.of_classes(hits, rest, above[0], above[1], *sizes)
        counted = ops.cast(counted, values.dtype)
        return ratio(ops.sum(values * counted), ops.sum(counted))

    @abstractmethod
    def of_classes(
        self, hits: Tensor, rest: Tensor, hits_above: Tensor, rest_above: Tensor, size: Tensor, others: Tensor
    ) -> tuple[Tensor, Tensor]:
        """The value of each class, and whether it counts in the mean.

        Args:
            hits, rest: Weights of the samples that are of the class, and that are not, by falling score, `(n, C)`.
            hits_above, rest_above: Sums of these over all samples that score at least as high.
            size, others: Sums of these over all samples, `(C,)`.
        """

    def get_config(self) -> dict[str, Any]:
        names = ("from_logits", "multi_label", "capacity")
        return {**super().get_config(), **{name: getattr(self, name) for name in names}}


@keras.saving.register_keras_serializable(package="tailfit")
class RocAuc(RankingMetric):
    """Mean area under the ROC curves of the classes, each against the rest; equal scores count half.

    As scikit-learn's `roc_auc_score(multi_class="ovr", average="macro")`, over the classes that have samples, and are
    not all there is. Exact up to `capacity` samples, beyond NaN: see the module's first lines for why.

    Args:
        from_logits: Whether `y_pred` are logits. No default: leaving it out is an `ArgumentError`.
        multi_label: Whether y are rows of 0 and 1, each column a label of its own (sigmoid), and C may be 1.
        capacity: Samples that are kept, those of weight 0 left out; more turn the result NaN. Each step sorts them all.
        num_classes: C; None takes it from the scores at the first update.
        name, dtype: As in `keras.metrics.Metric`.
    Shapes: as `update_state`; the result is a scalar in [0, 1], 0 before the first update.
    Raises:
        ArgumentError: for scores that do not fit the labels or `num_classes`, or arguments out of range.
    Source: Hand and Till 2001, doi:10.1023/A:1010920819831, eq. 3, of each class against the rest.

    >>> metric = RocAuc(from_logits=True, multi_label=True)
    >>> metric.update_state([0, 1, 0, 1], [[-2.0], [1.0], [1.0], [3.0]])
    >>> float(metric.result())  # 3 of 4 pairs in order, one equal
    0.875
    """

    def __init__(
        self,
        *,
        from_logits: bool = REQUIRED,
        multi_label: bool = False,
        capacity: int = 10_000,
        num_classes: int | None = None,
        name: str | None = "roc_auc",
        dtype: Any = None,
    ) -> None:
        super().__init__(
            from_logits=from_logits,
            multi_label=multi_label,
            capacity=capacity,
            num_classes=num_classes,
            name=name,
            dtype=dtype,
        )

    def of_classes(
        self, hits: Tensor, rest: Tensor, hits_above: Tensor, rest_above: Tensor, size: Tensor, others: Tensor
    ) -> tuple[Tensor, Tensor]:
        # Shares of pairs in which the one, or the other, scores at least as high: equal pairs are in both.
        right = ratio(ops.sum(rest * hits_above, axis=0), size * others)
        wrong = ratio(ops.sum(hits * rest_above, axis=0), size * others)
        return (1 + right - wrong) / 2, size * others > 0


@keras.saving.register_keras_serializable(package="tailfit")
class AveragePrecision(RankingMetric):
    """Mean over the classes of the average precision: the precision at each of the class' samples, averaged.

    As scikit-learn's `average_precision_score(average="macro")` of one-hot labels, over the classes that have samples.
    Exact up to `capacity` samples, beyond NaN: see the module's first lines for why.

    Args:
        from_logits: Whether `y_pred` are logits. No default: leaving it out is an `ArgumentError`.
        multi_label: Whether y are rows of 0 and 1, each column a label of its own (sigmoid), and C may be 1.
        capacity: Samples that are kept, those of weight 0 left out; more turn the result NaN. Each step sorts them all.
        num_classes: C; None takes it from the scores at the first update.
        name, dtype: As in `keras.metrics.Metric`.
    Shapes: as `update_state`; the result is a scalar in [0, 1], 0 before the first update.
    Raises:
        ArgumentError: for scores that do not fit the labels or `num_classes`, or arguments out of range.
    Source: scikit-learn's `average_precision_score`; of each class against the rest.

    >>> metric = AveragePrecision(from_logits=True, multi_label=True)
    >>> metric.update_state([0, 1, 0, 1], [[-2.0], [1.0], [2.0], [3.0]])
    >>> round(float(metric.result()), 4)  # (1 + 2/3) / 2
    0.8333
    """

    def __init__(
        self,
        *,
        from_logits: bool = REQUIRED,
        multi_label: bool = False,
        capacity: int = 10_000,
        num_classes: int | None = None,
        name: str | None = "average_precision",
        dtype: Any = None,
    ) -> None:
        super().__init__(
            from_logits=from_logits,
            multi_label=multi_label,
            capacity=capacity,
            num_classes=num_classes,
            name=name,
            dtype=dtype,
        )

    def of_classes(
        self, hits: Tensor, rest: Tensor, hits_above: Tensor, rest_above: Tensor, size: Tensor, others: Tensor
    ) -> tuple[Tensor, Tensor]:
        return ratio(ops.sum(hits * ratio(hits_above, hits_above + rest_above), axis=0), size), size > 0


def _log_odds(logits: Tensor) -> Tensor:
    """`log(p / (1 - p))` of each class; infinite where the other classes' logits are all lower by 87 or more."""
    top = ops.max(logits, axis=-1, keepdims=True)
    return logits - top - ops.log(sum_of_others(ops.exp(logits - top)))


def _last_of_equals(keys: Tensor) -> Tensor:
    """For each of `keys`, sorted along the first axis of `(n, C)`, the place of the last one equal to it."""
    rows, classes = keys.shape
    begins = ops.pad(ops.cast(keys[1:] != keys[:-1], "int32"), ((1, 0), (0, 0)))
    groups = ops.cumsum(begins, axis=0) * classes + ops.arange(classes, dtype="int32")
    places = ops.repeat(ops.arange(rows, dtype="int32"), classes)
    # A maximum of whole numbers: the order in which a GPU takes them is no matter.
    last = ops.segment_max(places, ops.reshape(groups, (-1,)), num_segments=rows * classes)
    return ops.take(last, groups)
