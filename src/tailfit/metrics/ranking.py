"""Ranking metrics: whether samples of a class score higher than the other samples, independent of a threshold.

Concepts:
- Each class is a binary problem against the rest; the metric is the mean over the classes that have samples on both
  sides.
- *All scores are stored*. A histogram would create ties: one pair of samples in the same bin, among a hundred samples,
  is an error of 1e-4. So the scores of up to `capacity` samples are stored in variables of fixed size, and the result
  is exact to float32. With more samples the result is NaN; it is never computed from a part of the data.
- The result sorts all scores, which takes longer than a step. `tailfit.Model` therefore computes it at the end of an
  epoch or evaluation; the logs of single steps lack it. A `keras.Model` computes it after every step.
- *Log-odds*: exclusive classes are ranked by `z_c - log(sum of exp of the other logits)`, which gives the same order as
  the probability, without ties between probabilities that float32 rounds to 1. They come from the stored logits.
"""

from abc import abstractmethod
from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from tailfit.arguments import REQUIRED, checked_flag
from tailfit.deferring import DEFERRED, defers_results
from tailfit.errors import ArgumentError
from tailfit.keras_private import in_stateless_scope, in_symbolic_scope
from tailfit.metrics._arrays import add_scores, changes_in_place
from tailfit.metrics._base import ClassMetric, ratio, sum_of_others
from tailfit.targets import Tensor, mask_of, with_shape

__all__ = ["AveragePrecision", "RankingMetric", "RocAuc"]


class RankingMetric(ClassMetric):
    """Base of the ranking metrics: stores and sorts the scores; subclasses define `of_classes`.

    Args:
        from_logits: Whether `y_pred` are logits. Required: omitting it raises `ArgumentError`.
        multi_label: Whether labels are rows of 0 and 1 with one independent label per column (sigmoid); C may be 1.
        capacity: Maximum number of samples; with more the result is NaN.
        num_classes: C, or None to infer it from the scores at the first update.
        name, dtype: As in `keras.metrics.Metric`.
    """

    _min_classes = 1
    _one_output_fix = "pass multi_label=True for one sigmoid output, or end the network in Dense(2)"
    _sum_dtype = "float32"  # also for float64, which Keras' cumsum and associative_scan don't support on torch

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
            raise ArgumentError(
                f"multi_label={multi_label!r}", expected="True or False", fix="pass multi_label=True or omit it"
            )
        self.from_logits, self.multi_label, self.capacity = checked_flag(from_logits), multi_label, capacity
        super().__init__(num_classes=num_classes, name=name, dtype=dtype)

    def _create(self, classes: int) -> None:
        rows, dtype = self.capacity + 1, self._sum_dtype  # discarded samples are written to the last row
        self._scores = self.add_variable((rows, classes), "zeros", dtype, name="scores")
        self._own = self.add_variable((rows, classes), "zeros", dtype, name="own")
        self._stored_weights = self.add_variable((rows,), "zeros", dtype, name="weights")
        self._kept = self.add_variable((), "zeros", "int32", name="kept")
        self._wrong = self.add_variable((), "zeros", "int32", name="wrong")

    def _state(self) -> tuple[keras.Variable, ...]:
        return self._scores, self._own, self._stored_weights, self._kept, self._wrong

    def update_state(self, y_true: Tensor, y_pred: Tensor, sample_weight: Tensor = None) -> None:
        """Store the scores of a batch.

        Args:
            y_true: Class indices `(batch, ...)` or `(batch, ..., 1)`, or one-hot or soft labels `(batch, ..., C)`, of
                which the largest entry is the class; with `multi_label` rows `(batch, ..., C)` of 0 and 1. A class
                index outside [0, C), or a NaN score, makes the result NaN, unless its weight is 0.
            y_pred: Scores `(batch, ..., C)`.
            sample_weight: Weights `(batch,)`, `(batch, 1)` or in the shape of the class indices. Samples with weight
                0 are not stored.
        """
        y_true, y_pred = self._checked(y_true, y_pred)
        if self._update_arrays(add_scores, y_true, y_pred, sample_weight, self.multi_label):
            return
        scores, own, weight, wrong = self._rows(y_true, y_pred, sample_weight)
        classes = scores.shape[-1]
        scores, own, weight = (
            ops.reshape(scores, (-1, classes)),
            ops.reshape(own, (-1, classes)),
            ops.reshape(weight, (-1,)),
        )
        counts = ops.cast(weight != 0, "int32")
        # Clipped at 0, too: while Keras infers shapes on torch, the count is in memory that was never set.
        places = ops.clip(self._kept + (ops.cumsum(counts) - 1), 0, self.capacity)
        if sample_weight is not None or mask_of(y_pred) is not None:
            places = ops.where(counts == 1, places, ops.full_like(places, self.capacity))
        _write_rows(places, ((self._scores, scores), (self._own, own), (self._stored_weights, weight)))
        # The count stops at capacity + 1, which marks an excess, so that it can't overflow.
        self._kept.assign(ops.minimum(self._kept + ops.sum(counts), self.capacity + 1))
        self._wrong.assign(ops.maximum(self._wrong, ops.cast(wrong, self._wrong.dtype)))

    def _checked(self, y_true: Tensor, y_pred: Tensor) -> tuple[Tensor, Tensor]:
        if not self.multi_label:
            return super()._checked(y_true, y_pred)
        y_pred = with_shape(y_pred)
        y_true = ops.convert_to_tensor(y_true)
        if len(y_true.shape) == len(y_pred.shape) - 1 and y_pred.shape[-1] == 1:
            y_true = ops.expand_dims(y_true, -1)
        if len(y_true.shape) != len(y_pred.shape) or y_true.shape[-1] != y_pred.shape[-1]:
            raise ArgumentError(
                f"y_true of shape {tuple(y_true.shape)} and y_pred of shape {tuple(y_pred.shape)}",
                expected="rows of 0 and 1 with one column per label, for multi_label=True",
                fix="omit multi_label if each sample has exactly one class",
            )
        self._expect(int(y_pred.shape[-1]), y_pred)
        return y_true, y_pred

    def _rows(self, y_true: Tensor, y_pred: Tensor, sample_weight: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Return scores and memberships `(batch, ..., C)`, weights `(batch, ...)`, and whether a label is invalid."""
        dtype = self._sum_dtype
        if not self.multi_label:
            scores, truth, weight, valid = self._prepared(y_true, y_pred, sample_weight)
            own = ops.equal(ops.expand_dims(truth, -1), ops.arange(scores.shape[-1], dtype="int32"))
            return ops.cast(scores, dtype), ops.cast(own, dtype), weight, ops.logical_not(ops.all(valid))
        own = ops.cast(y_true, dtype)
        weight = self._weights(own[..., 0], y_pred, sample_weight)
        odd = ops.any(ops.logical_and(own != 0, own != 1), axis=-1)
        return ops.cast(y_pred, dtype), own, weight, ops.any(ops.logical_and(odd, weight != 0))

    def result(self) -> Tensor:
        if defers_results():
            return DEFERRED
        if self._classes is None:
            return ops.zeros((), dtype=self.dtype)
        wrong = ops.logical_or(self._kept > self.capacity, self._wrong > 0)
        nothing = ops.full((), float("nan"), dtype=self._sum_dtype)
        if keras.backend.backend() == "jax" and not in_stateless_scope():  # eager cond would compile at every call
            mean = ops.where(wrong, nothing, self._exact())
        else:
            mean = ops.cond(wrong, lambda: nothing, self._exact)  # skip the sort once the result is NaN
        return ops.cast(mean, self.dtype)

    def _exact(self) -> Tensor:
        keys, own = ops.convert_to_tensor(self._scores)[:-1], ops.convert_to_tensor(self._own)[:-1]
        # Unfilled rows have weight 0; `reset_state` sets it for the rows of earlier epochs.
        weight = ops.convert_to_tensor(self._stored_weights)[:-1, None]
        if self.from_logits and not self.multi_label:
            keys = _log_odds(keys)
        invalid = ops.any(ops.logical_and(ops.isnan(keys), weight != 0))
        order = ops.argsort(-keys, axis=0)
        keys, hits, rest = (ops.take_along_axis(x, order, axis=0) for x in (keys, weight * own, weight * (1 - own)))
        above = ops.stack([ops.cumsum(hits, axis=0), ops.cumsum(rest, axis=0)])
        # No threshold separates equal scores: count up to the last sample with the same score.
        last = ops.expand_dims(_last_of_equals(keys), 0)
        above = ops.take_along_axis(above, ops.repeat(last, 2, axis=0), axis=1)
        sizes = ops.sum(hits, axis=0), ops.sum(rest, axis=0)
        values, counted = self.of_classes(hits, rest, above[0], above[1], *sizes)
        counted = ops.cast(counted, values.dtype)
        mean = ratio(ops.sum(values * counted), ops.sum(counted))
        return ops.where(invalid, float("nan"), mean)

    @abstractmethod
    def of_classes(
        self, hits: Tensor, rest: Tensor, hits_above: Tensor, rest_above: Tensor, size: Tensor, others: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Return the value of each class, and whether the class counts in the mean.

        Args:
            hits, rest: Weights of the samples in the class and of the others, by descending score, `(n, C)`.
            hits_above, rest_above: Sums of `hits` and `rest` over all samples that score at least as high, `(n, C)`.
            size, others: Sums of `hits` and `rest` over all samples, `(C,)`.
        """

    def get_config(self) -> dict[str, Any]:
        names = ("from_logits", "multi_label", "capacity")
        return {**super().get_config(), **{name: getattr(self, name) for name in names}}


@keras.saving.register_keras_serializable(package="tailfit")
class RocAuc(RankingMetric):
    """Mean area under the ROC curves of the classes, each against the rest; ties count half.

    As scikit-learn's `roc_auc_score(multi_class="ovr", average="macro")`, over the classes for which there are samples
    both in the class and outside it. The result is exact for up to `capacity` samples and NaN for more.
    `tailfit.Model` computes it at the end of an epoch or evaluation: the logs of single steps lack it.

    Args:
        from_logits: Whether `y_pred` are logits. Required: omitting it raises `ArgumentError`.
        multi_label: Whether labels are rows of 0 and 1 with one independent label per column (sigmoid); C may be 1.
        capacity: Maximum number of samples with weight > 0; with more the result is NaN.
        num_classes: C, or None to infer it from the scores at the first update.
        name, dtype: As in `keras.metrics.Metric`.
    Shapes: See `update_state`; the result is a scalar in [0, 1], 0 before the first update.
    Raises:
        ArgumentError: If an argument is out of range, or the scores do not match the labels or `num_classes`.
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
        # Shares of (class, other) pairs in which one, or the other, scores at least as high; ties are in both.
        right = ratio(ops.sum(rest * hits_above, axis=0), size * others)
        wrong = ratio(ops.sum(hits * rest_above, axis=0), size * others)
        return (1 + right - wrong) / 2, size * others > 0


@keras.saving.register_keras_serializable(package="tailfit")
class AveragePrecision(RankingMetric):
    """Mean average precision of the classes: for each class, the mean precision at the scores of its samples.

    As scikit-learn's `average_precision_score(average="macro")` with one-hot labels, over the classes that have
    samples. The result is exact for up to `capacity` samples and NaN for more.
    `tailfit.Model` computes it at the end of an epoch or evaluation: the logs of single steps lack it.

    Args:
        from_logits: Whether `y_pred` are logits. Required: omitting it raises `ArgumentError`.
        multi_label: Whether labels are rows of 0 and 1 with one independent label per column (sigmoid); C may be 1.
        capacity: Maximum number of samples with weight > 0; with more the result is NaN.
        num_classes: C, or None to infer it from the scores at the first update.
        name, dtype: As in `keras.metrics.Metric`.
    Shapes: See `update_state`; the result is a scalar in [0, 1], 0 before the first update.
    Raises:
        ArgumentError: If an argument is out of range, or the scores do not match the labels or `num_classes`.
    Source: scikit-learn's `average_precision_score`, for each class against the rest.

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


def _write_rows(places: Tensor, stores: Sequence[tuple[keras.Variable, Tensor]]) -> None:
    """Set rows of variables.

    Outside XLA, which reuses the memory of a variable, an update by `assign` copies all of it at every step.
    """
    backend = keras.backend.backend()
    if changes_in_place():
        places = ops.cast(places, "int64")
        for store, rows in stores:
            store.value.index_copy_(0, places, ops.stop_gradient(rows))
        return
    places = ops.expand_dims(places, -1)
    for store, rows in stores:
        if backend == "tensorflow" and not (in_stateless_scope() or in_symbolic_scope()):
            store.value.scatter_nd_update(places, rows)
        else:
            store.assign(ops.scatter_update(store, places, rows))


def _log_odds(logits: Tensor) -> Tensor:
    """Return `log(p / (1 - p))` of each class; infinite if the logits of all other classes are lower by 87 or more."""
    top = ops.max(logits, axis=-1, keepdims=True)
    return logits - top - ops.log(sum_of_others(ops.exp(logits - top)))


def _last_of_equals(keys: Tensor) -> Tensor:
    """Return for each key, sorted along the first axis of `(n, C)`, the row of the last key equal to it."""
    rows, classes = keys.shape
    begins = ops.pad(ops.cast(keys[1:] != keys[:-1], "int32"), ((1, 0), (0, 0)))
    groups = ops.cumsum(begins, axis=0) * classes + ops.arange(classes, dtype="int32")
    places = ops.repeat(ops.arange(rows, dtype="int32"), classes)
    # A maximum of integers: the result does not depend on the order in which a GPU processes them.
    last = ops.segment_max(places, ops.reshape(groups, (-1,)), num_segments=rows * classes)
    return ops.take(last, groups)
