"""Agreement of predictions and labels beyond chance: Matthews' correlation and Cohen's kappa.

Both are `sum_k (hits_k * rejections_k - misses_k * false_alarms_k)` divided by its maximum; rejections are true
negatives. In the textbook form, `N * hits - truth @ predicted`, a class with nearly all samples would cancel the digits
of the others.
"""

from typing import Any

import keras
from keras import ops

from tailfit.metrics._base import ConfusionMetric, ratio, sum_of_others
from tailfit.targets import Tensor

__all__ = ["CohenKappa", "MatthewsCorrelation"]


class _Agreement(ConfusionMetric):
    def _parts(self) -> tuple[Tensor, Tensor, Tensor]:
        """Return the numerator, and the share of each class among the labels and among the predictions."""
        hits, misses, false_alarms = self.counts()
        whole = ops.sum(hits + misses)
        hits, misses, false_alarms = (ratio(part, whole) for part in (hits, misses, false_alarms))
        # Samples in neither the row nor the column of a class. Each false alarm of a class is a miss of another one, so
        # the difference is >= 0 but for rounding.
        confused = sum_of_others(misses) - false_alarms
        rejections = sum_of_others(hits) + ops.where(confused > 0, confused, ops.zeros_like(confused))
        return ops.sum(hits * rejections - misses * false_alarms), hits + misses, hits + false_alarms


@keras.saving.register_keras_serializable(package="tailfit")
class MatthewsCorrelation(_Agreement):
    """Correlation of predictions and labels, in [-1, 1], as scikit-learn's `matthews_corrcoef`.

    0 means that the predictions carry no information about the labels.

    Args:
        num_classes: C, or None to infer it from the scores at the first update.
        name, dtype: As in `keras.metrics.Metric`.
    Shapes: See `update_state`; the result is a scalar, 0 if all labels or all predictions are of one class.
    Raises:
        ArgumentError: If the scores do not match the labels or `num_classes`.
    Source: Gorodkin 2004, "Comparing two K-category assignments by a K-category correlation coefficient", eq. 8.

    >>> metric = MatthewsCorrelation()
    >>> metric.update_state([0, 0, 1, 1], [[0.9, 0.1], [0.8, 0.2], [0.1, 0.9], [0.6, 0.4]])
    >>> round(float(metric.result()), 4)  # 1 / sqrt(3)
    0.5774
    """

    def __init__(
        self, *, num_classes: int | None = None, name: str | None = "matthews_correlation", dtype: Any = None
    ) -> None:
        super().__init__(num_classes=num_classes, name=name, dtype=dtype)

    def result(self) -> Tensor:
        agreement, truth, predicted = self._parts()
        spreads = [ops.sqrt(ops.sum(shares * sum_of_others(shares))) for shares in (truth, predicted)]
        return ops.cast(ratio(agreement, spreads[0] * spreads[1]), self.dtype)


@keras.saving.register_keras_serializable(package="tailfit")
class CohenKappa(_Agreement):
    """Agreement beyond chance, in [-1, 1], as scikit-learn's `cohen_kappa_score`.

    0 is the agreement of random predictions with the same class shares.

    Args:
        num_classes: C, or None to infer it from the scores at the first update.
        name, dtype: As in `keras.metrics.Metric`.
    Shapes: See `update_state`; the result is a scalar, 0 if all labels and predictions are of one class (the value is
        undefined then; scikit-learn returns NaN).
    Raises:
        ArgumentError: If the scores do not match the labels or `num_classes`.
    Source: Cohen 1960, "A coefficient of agreement for nominal scales", eq. 1.

    >>> metric = CohenKappa()
    >>> metric.update_state([0, 0, 1, 1], [[0.9, 0.1], [0.8, 0.2], [0.1, 0.9], [0.6, 0.4]])
    >>> float(metric.result())  # (3/4 - 1/2) / (1 - 1/2)
    0.5
    """

    def __init__(self, *, num_classes: int | None = None, name: str | None = "cohen_kappa", dtype: Any = None) -> None:
        super().__init__(num_classes=num_classes, name=name, dtype=dtype)

    def result(self) -> Tensor:
        agreement, truth, predicted = self._parts()
        return ops.cast(ratio(agreement, ops.sum(truth * sum_of_others(predicted))), self.dtype)
