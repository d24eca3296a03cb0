"""Agreement of calls and truth beyond what their shares alone would give: Matthews' correlation, Cohen's kappa.

Both are `sum_k (hits_k * rejections_k - misses_k * false alarms_k)` over what it could be at most. Written so, and
not as `N * hits - truth @ called`, no class with nearly all samples drowns the others.
"""

from typing import Any

import keras
from keras import ops

from tailfit.metrics._base import ConfusionMetric, ratio, sum_of_others
from tailfit.targets import Tensor

__all__ = ["CohenKappa", "MatthewsCorrelation"]


class _Agreement(ConfusionMetric):
    def _parts(self) -> tuple[Tensor, Tensor, Tensor]:
        """The numerator, and the shares of each class in the truth and in the calls."""
        hits, misses, false_alarms = self.counts()
        whole = ops.sum(hits + misses)
        hits, misses, false_alarms = (ratio(part, whole) for part in (hits, misses, false_alarms))
        # What lies in neither the row nor the column of a class. The rest of the misses is at least the false alarms.
        astray = sum_of_others(misses) - false_alarms
        rejections = sum_of_others(hits) + ops.where(astray > 0, astray, ops.zeros_like(astray))
        return ops.sum(hits * rejections - misses * false_alarms), hits + misses, hits + false_alarms


@keras.saving.register_keras_serializable(package="tailfit")
class MatthewsCorrelation(_Agreement):
    """Correlation of calls and truth, in [-1, 1]; 0 where calls tell nothing, as scikit-learn's `matthews_corrcoef`.

    Args:
        num_classes: C; None takes it from the scores at the first update.
        name, dtype: As in `keras.metrics.Metric`.
    Shapes: as `update_state`; the result is a scalar, 0 where truth or calls are all of one class.
    Raises:
        ArgumentError: for scores that do not fit the labels or `num_classes`.
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
        agreed, truth, called = self._parts()
        most = [ops.sqrt(ops.sum(shares * sum_of_others(shares))) for shares in (truth, called)]
        return ops.cast(ratio(agreed, most[0] * most[1]), self.dtype)


@keras.saving.register_keras_serializable(package="tailfit")
class CohenKappa(_Agreement):
    """Agreement beyond chance, in [-1, 1]; 0 is that of calls drawn by their shares, as scikit-learn's.

    Args:
        num_classes: C; None takes it from the scores at the first update.
        name, dtype: As in `keras.metrics.Metric`.
    Shapes: as `update_state`; the result is a scalar, 0 where truth and calls are all of one class (undefined:
        scikit-learn gives NaN).
    Raises:
        ArgumentError: for scores that do not fit the labels or `num_classes`.
    Source: Cohen 1960, "A coefficient of agreement for nominal scales", eq. 1.

    >>> metric = CohenKappa()
    >>> metric.update_state([0, 0, 1, 1], [[0.9, 0.1], [0.8, 0.2], [0.1, 0.9], [0.6, 0.4]])
    >>> float(metric.result())  # (3/4 - 1/2) / (1 - 1/2)
    0.5
    """

    def __init__(self, *, num_classes: int | None = None, name: str | None = "cohen_kappa", dtype: Any = None) -> None:
        super().__init__(num_classes=num_classes, name=name, dtype=dtype)

    def result(self) -> Tensor:
        agreed, truth, called = self._parts()
        return ops.cast(ratio(agreed, ops.sum(truth * sum_of_others(called))), self.dtype)
