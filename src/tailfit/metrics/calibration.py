"""Calibration: of the predictions made with 80 % confidence, 80 % should be correct."""

from typing import Any

import keras
import numpy as np
from keras import ops

from tailfit.arguments import REQUIRED, checked_flag
from tailfit.errors import ArgumentError
from tailfit.keras_private import improves
from tailfit.metrics._arrays import add_gaps
from tailfit.metrics._base import SumMetric, total
from tailfit.targets import Tensor

__all__ = ["CalibrationError"]


@improves("down")
@keras.saving.register_keras_serializable(package="tailfit")
class CalibrationError(SumMetric):
    """Expected calibration error: the mean gap between confidence and accuracy over bins of confidence.

    The confidence of a sample is the probability of its predicted class. Bins are (k / bins, (k + 1) / bins].

    Args:
        bins: Number of bins of equal width, >= 1.
        from_logits: Whether `y_pred` are logits. Required: omitting it raises `ArgumentError`.
        num_classes: C, or None to infer it from the scores at the first update.
        name, dtype: As in `keras.metrics.Metric`.
    Shapes: As in the other metrics; the result is a scalar in [0, 1], 0 before the first update. A class index outside
        [0, C), or a "probability" outside [0, 1], makes it NaN, unless its weight is 0.
    Raises:
        ArgumentError: If `bins` is not an integer >= 1, or the scores do not match the labels or `num_classes`.
    Source: Guo et al. 2017, arXiv:1706.04599, eq. 3.

    >>> metric = CalibrationError(from_logits=False)
    >>> metric.update_state([0, 0, 0, 1], [[0.7, 0.3], [0.7, 0.3], [0.7, 0.3], [0.7, 0.3]])
    >>> round(float(metric.result()), 4)  # confidence 0.7, accuracy 0.75
    0.05
    """

    def __init__(
        self,
        bins: int = 15,
        *,
        from_logits: bool = REQUIRED,
        num_classes: int | None = None,
        name: str | None = "calibration_error",
        dtype: Any = None,
    ) -> None:
        if isinstance(bins, bool) or not isinstance(bins, int) or bins < 1:
            raise ArgumentError(f"bins={bins!r}", expected="a whole number >= 1", fix="use bins=15 as in the paper")
        self.bins, self.from_logits = bins, checked_flag(from_logits)
        super().__init__(num_classes=num_classes, name=name, dtype=dtype)

    def _shape(self, classes: int) -> tuple[int, ...]:
        return (2, self.bins)

    def update_state(self, y_true: Tensor, y_pred: Tensor, sample_weight: Tensor = None) -> None:
        """Count the samples of a batch; the arguments are those of the other metrics."""
        y_true, y_pred = self._checked(y_true, y_pred)
        if self._update_arrays(add_gaps, y_true, y_pred, sample_weight, self.from_logits):
            return
        scores, truth, weight, valid = self._prepared(y_true, y_pred, sample_weight)
        scores = ops.stop_gradient(ops.cast(scores, self._sum_dtype))
        confidence = ops.max(ops.softmax(scores, axis=-1) if self.from_logits else scores, axis=-1)
        hit = ops.cast(ops.equal(ops.cast(ops.argmax(scores, axis=-1), "int32"), truth), self._sum_dtype)
        edges = ops.convert_to_tensor(np.arange(1, self.bins) / self.bins, dtype=self._sum_dtype)
        # float16 probabilities may exceed 1 slightly. NaN differs from itself.
        possible = ops.logical_or(ops.clip(confidence, 0.0, 1.001) == confidence, weight == 0)
        all_valid = ops.all(ops.logical_and(valid, possible))
        # Sum the gap itself: the difference of two much larger sums would have few correct digits.
        gap = hit - confidence
        number = ops.sum(ops.cast(ops.expand_dims(confidence, -1) > edges, "int32"), axis=-1)
        inside = ops.equal(ops.expand_dims(number, -1), ops.arange(self.bins, dtype="int32"))
        weight = ops.where(inside, ops.expand_dims(weight, -1), ops.zeros_like(inside, dtype=self._sum_dtype))
        self._add(ops.stack([total(weight), total(weight * ops.expand_dims(gap, -1))]), all_valid)

    def result(self) -> Tensor:
        if self._sums is None:
            return ops.zeros((), dtype=self.dtype)
        weights, gaps = ops.unstack(self._sums + self._rests, axis=0)
        whole = ops.sum(weights)
        return ops.cast(ops.sum(ops.abs(gaps)) / ops.where(whole == 0, ops.ones_like(whole), whole), self.dtype)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "bins": self.bins, "from_logits": self.from_logits}
