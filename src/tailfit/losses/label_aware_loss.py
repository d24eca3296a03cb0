"""Label smoothing by class: stronger for frequent classes, for which networks become over-confident."""

from typing import Any

import keras
import numpy as np
from keras import ops

from tailfit.arguments import REQUIRED, checked_class_counts, checked_flag, checked_number
from tailfit.losses._base import ClassificationLoss
from tailfit.losses._labels import Rows
from tailfit.losses._numerics import class_constant, prepare
from tailfit.losses.cross_entropy_loss import smoothed_cross_entropy
from tailfit.schedules import Schedule
from tailfit.targets import Tensor

__all__ = ["LabelAwareSmoothing", "label_aware_smoothing"]


def label_aware_smoothing(
    y_true: Tensor,
    y_pred: Tensor,
    class_counts: Any,
    *,
    head: float = 0.4,
    tail: float = 0.1,
    from_logits: bool = REQUIRED,
) -> Tensor:
    """Return the per-sample values of `LabelAwareSmoothing`.

    >>> value = label_aware_smoothing([1], [[0.0, 0.0]], [3, 1], from_logits=True)
    >>> round(float(value[0]), 4)  # ln 2 for every label, since both classes have probability 1/2
    0.6931
    """
    head, tail = _checked_smoothing(head, "head"), _checked_smoothing(tail, "tail")
    counts = checked_class_counts(class_counts)
    labels, logits = prepare(y_true, y_pred, from_logits=checked_flag(from_logits))
    smoothing = tail + (head - tail) * class_constant(counts, logits, "class_counts", _frequency)
    if labels.is_indices and isinstance(head, float) and isinstance(tail, float) and min(head, tail) > 0:
        return smoothed_cross_entropy(labels, logits, labels.of_classes(smoothing))
    targets = labels.rows()
    spread = ops.sum(targets * smoothing, axis=-1, keepdims=True) / logits.shape[-1]
    return Rows(targets * (1.0 - smoothing) + spread).cross_entropy(logits)


def _frequency(counts: Any) -> Any:
    """Return 0 for the rarest class to 1 for the most frequent one."""
    # For balanced counts the angle would be 0 / 0; all classes are the rarest then.
    span = max(counts.max() - counts.min(), np.finfo(float).tiny)
    return np.sin(np.pi / 2 * (counts - counts.min()) / span)


@keras.saving.register_keras_serializable(package="tailfit")
class LabelAwareSmoothing(ClassificationLoss):
    """Cross-entropy with label smoothing e = tail + (head - tail) sin(pi / 2 (n - n_min) / (n_max - n_min)).

    As in the authors' code, the share e of a label is distributed evenly over all C classes, including its own. If all
    counts are equal, e is `tail` for all classes. The loss of a soft label is the weighted mean over its classes.

    Args:
        class_counts: C counts > 0, or an object with `class_counts` (`batches`).
        head: Smoothing of the most frequent class, in [0, 1], or a schedule.
        tail: Smoothing of the rarest class, in [0, 1], or a schedule. If both are 0, this is cross-entropy.
        from_logits: Whether `y_pred` are logits. Required: omitting it raises `ArgumentError`.
        name, reduction, dtype: As in `keras.losses.Loss`.
    Shapes: `y_true` `(batch, ...)` or `(batch, ..., C)`, `y_pred` `(batch, ..., C)`; loss `(batch, ...)`, in nats.
    Raises:
        ArgumentError: If a count is not > 0 or an option is out of range; when called, if shapes do not match or the
            number of classes differs.
    Source: Zhong et al. 2021, arXiv:2104.00466, eq. 3 and 5.

    >>> loss = LabelAwareSmoothing([1000, 100, 10], from_logits=True)
    >>> round(float(loss([0], [[2.0, 0.5, -1.0]])), 4)
    0.8413
    """

    function = staticmethod(label_aware_smoothing)

    def __init__(
        self,
        class_counts: Any,
        *,
        head: float | Schedule = 0.4,
        tail: float | Schedule = 0.1,
        from_logits: bool = REQUIRED,
        name: str | None = "label_aware_smoothing",
        reduction: str | None = "sum_over_batch_size",
        dtype: Any = None,
    ) -> None:
        super().__init__(from_logits=from_logits, name=name, reduction=reduction, dtype=dtype)
        self.class_counts = checked_class_counts(class_counts)
        self.head = self._schedulable("head", head, lambda value: _checked_smoothing(value, "head"))
        self.tail = self._schedulable("tail", tail, lambda value: _checked_smoothing(value, "tail"))


def _checked_smoothing(value: Any, name: str) -> Any:
    return checked_number(value, name, most=1.0, fix="use head=0.4 and tail=0.1 as the authors do for 100 classes")
