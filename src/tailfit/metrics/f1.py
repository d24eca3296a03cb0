"""F1: the harmonic mean of precision and recall of each class, and its mean over classes."""

from typing import Any

import keras

from tailfit.metrics._base import ConfusionMetric, ratio
from tailfit.targets import Tensor

__all__ = ["MacroF1"]


@keras.saving.register_keras_serializable(package="tailfit")
class MacroF1(ConfusionMetric):
    """Unweighted mean of the classes' F1 scores, as scikit-learn's `f1_score(average="macro")`.

    The mean is over the classes with at least one label or prediction: a class that is predicted but has no label
    counts as 0, a class with neither does not count.

    Args:
        num_classes: C, or None to infer it from the scores at the first update.
        name, dtype: As in `keras.metrics.Metric`.
    Shapes: See `update_state`; the result is a scalar in [0, 1], 0 before the first update.
    Raises:
        ArgumentError: If the scores do not match the labels or `num_classes`.
    Source: Opitz and Burst 2019, arXiv:1911.03347, eq. 1 (the mean of F1, not the F1 of means).

    >>> metric = MacroF1()
    >>> metric.update_state([0, 0, 1, 1], [[0.9, 0.1], [0.8, 0.2], [0.1, 0.9], [0.6, 0.4]])
    >>> round(float(metric.result()), 4)  # (4/5 + 2/3) / 2
    0.7333
    """

    def __init__(self, *, num_classes: int | None = None, name: str | None = "macro_f1", dtype: Any = None) -> None:
        super().__init__(num_classes=num_classes, name=name, dtype=dtype)

    def result(self) -> Tensor:
        hits, misses, false_alarms = self.counts()
        whole = 2 * hits + misses + false_alarms
        return self.present_mean(ratio(2 * hits, whole), whole != 0)
