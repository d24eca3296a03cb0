"""Recall of each class, and means of it in which no class dominates."""

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from tailfit.errors import ArgumentError
from tailfit.metrics._base import ConfusionMetric, ratio, sum_of_others
from tailfit.targets import Tensor

__all__ = ["BalancedAccuracy", "GeometricMean", "PerClassRecall"]


@keras.saving.register_keras_serializable(package="tailfit")
class BalancedAccuracy(ConfusionMetric):
    """Mean recall over the classes present in the labels, as scikit-learn's `balanced_accuracy_score`.

    Args:
        adjusted: Whether to rescale the result so that 0 is chance, 1 / (classes present), and 1 is perfect. With only
            one class present the result is 0.
        num_classes: C, or None to infer it from the scores at the first update.
        name, dtype: As in `keras.metrics.Metric`.
    Shapes: See `update_state`; the result is a scalar share, 0 before the first update.
    Raises:
        ArgumentError: If the scores do not match the labels or `num_classes`.
    Source: Brodersen et al. 2010, "The balanced accuracy and its posterior distribution", eq. 3, for C classes.

    >>> metric = BalancedAccuracy()
    >>> metric.update_state([0, 0, 0, 1], [[0.9, 0.1], [0.8, 0.2], [0.1, 0.9], [0.6, 0.4]])
    >>> round(float(metric.result()), 4)  # (2/3 + 0) / 2
    0.3333
    """

    def __init__(
        self,
        *,
        adjusted: bool = False,
        num_classes: int | None = None,
        name: str | None = "balanced_accuracy",
        dtype: Any = None,
    ) -> None:
        super().__init__(num_classes=num_classes, name=name, dtype=dtype)
        if not isinstance(adjusted, bool):
            raise ArgumentError(f"adjusted={adjusted!r}", expected="True or False", fix="pass adjusted=True or omit it")
        self.adjusted = adjusted

    def result(self) -> Tensor:
        hits, misses, _ = self.counts()
        present = hits + misses != 0
        score = self.present_mean(ratio(hits, hits + misses), present)
        if not self.adjusted:
            return score
        chance = ratio(ops.ones_like(score), ops.cast(ops.sum(ops.cast(present, "int32")), score.dtype))
        return ratio(score - chance, 1 - chance) * ops.cast(ops.any(present), score.dtype)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "adjusted": self.adjusted}


@keras.saving.register_keras_serializable(package="tailfit")
class PerClassRecall(ConfusionMetric):
    """Recall of each class: the share of its samples that are predicted as this class.

    With `class_names` the result is a dict, and Keras logs each entry as `<name>/<class name>` (`recall/leak`,
    `val_recall/leak`) for use in progress bars, CSV logs and `EarlyStopping(monitor="val_recall/leak", mode="max")`.
    Two such metrics in one model need different names, or their entries overwrite each other. Without `class_names`
    the result is a vector; `fit` stores vectors in its history and shows their mean.

    Args:
        class_names: C unique names, in the order of the class indices.
        absent: Result for classes that are absent from the labels: 0.0 as in scikit-learn's `recall_score`, or NaN
            to distinguish them from classes whose samples were all missed.
        num_classes: C, or None to infer it from `class_names`, or from the scores at the first update.
        name, dtype: As in `keras.metrics.Metric`.
    Shapes: See `update_state`; the result is `(C,)` or a dict of C scalars; `(0,)` while C is unknown.
    Raises:
        ArgumentError: If names repeat, or the scores do not match the labels or `num_classes`.
    Source: scikit-learn's `recall_score(average=None)`.

    >>> metric = PerClassRecall(class_names=["ok", "leak"])
    >>> metric.update_state([0, 0, 1, 1], [[0.9, 0.1], [0.8, 0.2], [0.1, 0.9], [0.6, 0.4]])
    >>> {key: float(value) for key, value in metric.result().items()}
    {'recall/ok': 1.0, 'recall/leak': 0.5}
    """

    def __init__(
        self,
        *,
        class_names: Sequence[str] | None = None,
        absent: float = 0.0,
        num_classes: int | None = None,
        name: str | None = "recall",
        dtype: Any = None,
    ) -> None:
        self.class_names = _checked_names(class_names, num_classes)
        if isinstance(absent, bool) or not (absent == 0 or np.isnan(absent)):
            raise ArgumentError(
                f"absent={absent!r}", expected="0.0 or NaN", fix='pass absent=float("nan") to mark absent classes'
            )
        self.absent = float(absent)
        known = num_classes if self.class_names is None else len(self.class_names)
        super().__init__(num_classes=known, name=name, dtype=dtype)

    def result(self) -> Tensor:
        hits, misses, _ = self.counts()
        whole = hits + misses
        recall = ops.where(whole == 0, self.absent, ratio(hits, whole))
        recall = ops.cast(recall, self.dtype)
        if self.class_names is None:
            return recall
        return {f"{self.name}/{name}": recall[index] for index, name in enumerate(self.class_names)}

    def get_config(self) -> dict[str, Any]:
        names = None if self.class_names is None else list(self.class_names)
        return {**super().get_config(), "class_names": names, "absent": self.absent}


@keras.saving.register_keras_serializable(package="tailfit")
class GeometricMean(ConfusionMetric):
    """Geometric mean of recalls; 0 if any class present in the labels is never found.

    Two different quantities have this name; `average` selects one.

    Args:
        average: `"recalls"`: the C-th root of the product of the recalls of the C classes present in the labels,
            as imbalanced-learn's `geometric_mean_score(labels=<those classes>)` (which without `labels` returns 0
            if a class is predicted that has no label). `"one_vs_rest"`: the mean over those classes of
            sqrt(recall * specificity), each class against the rest: the mean of imbalanced-learn's `average=None`
            (its `average="macro"` is a third quantity, the root of the two means; its specificity ignores sample
            weights, which this one respects).
        num_classes: C, or None to infer it from the scores at the first update.
        name, dtype: As in `keras.metrics.Metric`.
    Shapes: See `update_state`; the result is a scalar in [0, 1], 0 before the first update.
    Raises:
        ArgumentError: If `average` is unknown, or the scores do not match the labels or `num_classes`.
    Source: "recalls": Sun, Kamel and Wang 2006, "Boosting for learning multiple classes with imbalanced class
        distribution". "one_vs_rest": Kubat and Matwin 1997, of each class, as Dablain et al. 2022 (DeepSMOTE).

    >>> metric = GeometricMean()
    >>> metric.update_state([0, 0, 1, 1], [[0.9, 0.1], [0.8, 0.2], [0.1, 0.9], [0.6, 0.4]])
    >>> round(float(metric.result()), 4)  # sqrt(1 * 1/2)
    0.7071
    """

    def __init__(
        self,
        *,
        average: str = "recalls",
        num_classes: int | None = None,
        name: str | None = "geometric_mean",
        dtype: Any = None,
    ) -> None:
        super().__init__(num_classes=num_classes, name=name, dtype=dtype)
        if average not in ("recalls", "one_vs_rest"):
            raise ArgumentError(
                f"average={average!r}",
                expected='"recalls" or "one_vs_rest"',
                fix='pass average="recalls" for imbalanced-learn\'s "multiclass"',
            )
        self.average = average

    def result(self) -> Tensor:
        hits, misses, false_alarms = self.counts()
        size = hits + misses
        present = size != 0
        recall = ratio(hits, size)
        if self.average == "recalls":
            # In log space, since the product of many small recalls underflows; log 0 is -inf, and exp(-inf) is 0.
            return ops.exp(self.present_mean(ops.log(recall), present)) * ops.cast(ops.any(present), self.dtype)
        rest = sum_of_others(size)
        specificity = ratio(rest - false_alarms, rest)
        return self.present_mean(ops.sqrt(recall * specificity), present)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "average": self.average}


def _checked_names(class_names: Sequence[str] | None, num_classes: int | None) -> tuple[str, ...] | None:
    if class_names is None:
        return None
    names = (class_names,) if isinstance(class_names, str) else tuple(str(name) for name in class_names)
    if isinstance(class_names, str) or len(names) < 2 or len(set(names)) < len(names):
        raise ArgumentError(
            f"class_names={class_names!r}", expected="C >= 2 unique names", fix="give every class its own name"
        )
    if num_classes not in (None, len(names)):
        raise ArgumentError(
            f"{len(names)} class_names and num_classes={num_classes}",
            expected="as many names as classes",
            fix="omit num_classes: it is inferred from class_names",
        )
    return names
