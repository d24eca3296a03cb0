"""Recall of the tail: of the worst class, and of the classes with many, medium and few training samples."""

from typing import Any

import keras
import numpy as np
from keras import ops

from tailfit.arguments import checked_number, checked_per_class
from tailfit.errors import ArgumentError
from tailfit.metrics._base import ConfusionMetric, ratio
from tailfit.targets import Tensor

__all__ = ["GroupRecall", "WorstClassRecall"]


@keras.saving.register_keras_serializable(package="tailfit")
class WorstClassRecall(ConfusionMetric):
    """Smallest recall of the classes present in the labels.

    Args:
        num_classes: C, or None to infer it from the scores at the first update.
        name, dtype: As in `keras.metrics.Metric`.
    Shapes: See `update_state`; the result is a scalar in [0, 1], 0 before the first update.
    Raises:
        ArgumentError: If the scores do not match the labels or `num_classes`.
    Source: the minimum of scikit-learn's `recall_score(average=None)` over the classes in `y_true`.

    >>> metric = WorstClassRecall()
    >>> metric.update_state([0, 0, 1, 1], [[0.9, 0.1], [0.8, 0.2], [0.1, 0.9], [0.6, 0.4]])
    >>> float(metric.result())
    0.5
    """

    def __init__(
        self, *, num_classes: int | None = None, name: str | None = "worst_class_recall", dtype: Any = None
    ) -> None:
        super().__init__(num_classes=num_classes, name=name, dtype=dtype)

    def result(self) -> Tensor:
        hits, misses, _ = self.counts()
        if self._sums is None:
            return ops.zeros((), dtype=self.dtype)
        size = hits + misses
        present = size != 0
        recall = ops.where(present, ratio(hits, size), ops.ones_like(size))
        return ops.cast(ops.min(recall), self.dtype) * ops.cast(ops.any(present), self.dtype)


@keras.saving.register_keras_serializable(package="tailfit")
class GroupRecall(ConfusionMetric):
    """Mean recall of the classes with many, medium and few *training* samples, as reported in papers on long tails.

    The result is a dict, and Keras logs each entry: `group_recall/many`, `group_recall/medium`, `group_recall/few`.
    Groups without classes are left out.

    Args:
        class_counts: Number of training samples of each class, or an object with `class_counts` (`batches`, a source).
        many: Classes with more training samples than this are the group "many".
        few: Classes with fewer training samples than this are the group "few".
        num_classes: C, or None to infer it from `class_counts`.
        name, dtype: As in `keras.metrics.Metric`.
    Shapes: See `update_state`; the result is a dict of scalars, each a mean over the classes of the group that are
        present in the labels; 0 if none is.
    Raises:
        ArgumentError: If the counts are invalid, `few > many`, or the scores do not match the counts.
    Source: Liu et al. 2019, arXiv:1904.05160, section 4 (many: over 100, few: under 20 samples).

    >>> metric = GroupRecall([500, 50, 5])
    >>> metric.update_state([0, 0, 1, 2], [[9, 1, 1], [1, 9, 1], [1, 9, 1], [1, 9, 1]])
    >>> {key: float(value) for key, value in metric.result().items()}
    {'group_recall/many': 0.5, 'group_recall/medium': 1.0, 'group_recall/few': 0.0}
    """

    def __init__(
        self,
        class_counts: Any,
        *,
        many: float = 100,
        few: float = 20,
        num_classes: int | None = None,
        name: str | None = "group_recall",
        dtype: Any = None,
    ) -> None:
        counts = checked_per_class(getattr(class_counts, "class_counts", class_counts), "class_counts")
        self.class_counts = tuple(counts)
        for what, value in (("many", many), ("few", few)):
            checked_number(value, what, fix="use many=100 and few=20 as in the paper")
        if few > many:
            raise ArgumentError(f"few={few} and many={many}", expected="few <= many", fix="swap the two values")
        if num_classes not in (None, len(counts)):
            raise ArgumentError(
                f"{len(counts)} class_counts and num_classes={num_classes}",
                expected="as many counts as classes",
                fix="omit num_classes: it is inferred from class_counts",
            )
        self.many, self.few = many, few
        super().__init__(num_classes=len(counts), name=name, dtype=dtype)

    def result(self) -> dict[str, Tensor]:
        hits, misses, _ = self.counts()
        size = hits + misses
        recall, counts = ratio(hits, size), np.array(self.class_counts)
        groups = {
            "many": counts > self.many,
            "medium": (counts >= self.few) & (counts <= self.many),
            "few": counts < self.few,
        }
        return {
            f"{self.name}/{group}": self.present_mean(recall, ops.logical_and(members, size != 0))
            for group, members in groups.items()
            if members.any()
        }

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "class_counts": list(self.class_counts), "many": self.many, "few": self.few}
