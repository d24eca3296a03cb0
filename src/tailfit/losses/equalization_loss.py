"""Equalization loss: samples without a rare label have no effect on its logit."""

from typing import Any

import keras
from keras import ops

from tailfit.arguments import REQUIRED, checked_class_counts, checked_flag, checked_number
from tailfit.losses._binary import MultiLabelLoss, binary_sum, prepare_labels
from tailfit.losses._numerics import class_constant
from tailfit.schedules import Schedule
from tailfit.targets import Tensor

__all__ = ["Equalization", "equalization"]


def equalization(
    y_true: Tensor, y_pred: Tensor, class_counts: Any, *, threshold: float, from_logits: bool = REQUIRED
) -> Tensor:
    """Return the per-sample values of `Equalization`.

    >>> value = equalization([[1, 0]], [[0.0, 0.0]], [9, 1], threshold=0.2, from_logits=True)
    >>> round(float(value[0]), 4)  # ln 2 of the first label; the second, rare and absent, does not count
    0.6931
    """
    threshold = _checked_threshold(threshold)
    counts = checked_class_counts(class_counts)
    targets, logits = prepare_labels(y_true, y_pred, from_logits=checked_flag(from_logits))
    shares = class_constant(counts, logits, "class_counts", _shares)
    return binary_sum(logits, targets, absent=ops.cast(shares >= threshold, logits.dtype))


def _shares(counts: Any) -> Any:
    return counts / counts.sum()


@keras.saving.register_keras_serializable(package="tailfit")
class Equalization(MultiLabelLoss):
    """Sum of the labels' binary cross-entropies, without absent labels that are rarer than `threshold`.

    It also applies to C exclusive classes with sigmoid outputs, in which every sample of the other classes lowers the
    score of a rare class.

    Args:
        class_counts: C counts > 0, or an object with `class_counts` (`batches`). The frequency of a label is its share
            of their sum.
        threshold: Frequency below which a label is rare, in [0, 1], or a schedule. With 0 this is binary cross-entropy.
            The authors choose it so that the rare labels together have a few percent of the samples.
        from_logits: Whether `y_pred` are logits. Required: omitting it raises `ArgumentError`.
        name, reduction, dtype: As in `keras.losses.Loss`.
    Shapes: `y_true` `(batch, ..., C)` or `(batch, ...)`, `y_pred` `(batch, ..., C)`; loss `(batch, ...)`, in nats.
    Raises:
        ArgumentError: If a count is not > 0 or an option is out of range; when called, if shapes do not match or the
            number of classes differs.
    Source: Tan et al. 2020, arXiv:2003.05176, eq. 4 and 5, without a background class.

    >>> loss = Equalization([1000, 100, 10], threshold=0.05, from_logits=True)
    >>> round(float(loss([0], [[2.0, 0.5, -1.0]])), 4)
    1.101
    """

    function = staticmethod(equalization)

    def __init__(
        self,
        class_counts: Any,
        *,
        threshold: float | Schedule,
        from_logits: bool = REQUIRED,
        name: str | None = "equalization",
        reduction: str | None = "sum_over_batch_size",
        dtype: Any = None,
    ) -> None:
        super().__init__(from_logits=from_logits, name=name, reduction=reduction, dtype=dtype)
        self.class_counts = checked_class_counts(class_counts)
        self.threshold = self._schedulable("threshold", threshold, _checked_threshold)


def _checked_threshold(threshold: Any) -> Any:
    fix = "pass a share of the samples such as 0.01, or 0 for cross-entropy"
    return checked_number(threshold, "threshold", most=1.0, fix=fix)
