"""Cross-entropy: the negative log-probability of the true class, in nats."""

from collections.abc import Mapping, Sequence
from typing import Any

import keras
from keras import ops

from tailfit.arguments import REQUIRED, checked_flag, checked_number, checked_per_class
from tailfit.losses._base import ClassificationLoss
from tailfit.losses._labels import Labels, Rows
from tailfit.losses._numerics import class_constant, prepare
from tailfit.schedules import Schedule
from tailfit.targets import Tensor

__all__ = ["CrossEntropy", "PerClass", "checked_weights", "cross_entropy", "smoothed_cross_entropy"]

PerClass = Sequence[float] | Mapping[int, float]


def cross_entropy(
    y_true: Tensor,
    y_pred: Tensor,
    *,
    from_logits: bool = REQUIRED,
    label_smoothing: float = 0.0,
    class_weights: PerClass | None = None,
) -> Tensor:
    """Return the per-sample values of `CrossEntropy`.

    >>> value = cross_entropy([1], [[0.0, 0.0]], from_logits=True)
    >>> round(float(value[0]), 4)  # ln 2
    0.6931
    """
    label_smoothing, class_weights = _checked_smoothing(label_smoothing), checked_weights(class_weights)
    labels, logits = prepare(y_true, y_pred, from_logits=checked_flag(from_logits))
    if not isinstance(label_smoothing, float) or label_smoothing > 0:
        if labels.is_indices and isinstance(label_smoothing, float) and class_weights is None:
            return smoothed_cross_entropy(labels, logits, label_smoothing)
        labels = Rows(labels.rows() * (1.0 - label_smoothing) + label_smoothing / logits.shape[-1])
    if class_weights is not None:
        labels = labels.weighted(class_constant(class_weights, logits, "class_weights"))
    return labels.cross_entropy(logits)


def smoothed_cross_entropy(labels: Labels, logits: Tensor, share: Any) -> Tensor:
    """Return the cross-entropy of class indices, of which a share > 0 is distributed evenly over all classes.

    Args:
        labels: Class indices.
        logits: Logits `(batch, ..., C)`.
        share: The share, for all classes or of each sample.
    """
    log_p = ops.log_softmax(logits, axis=-1)
    return -labels.sum((1.0 - share) * labels.of(log_p) + share / logits.shape[-1] * ops.sum(log_p, axis=-1))


@keras.saving.register_keras_serializable(package="tailfit")
class CrossEntropy(ClassificationLoss):
    """Cross-entropy with label smoothing and class weights, `-sum_k w_k y_k log p_k`.

    Args:
        label_smoothing: Share of each label that is distributed evenly over the C classes, in [0, 1], or a schedule.
        class_weights: One weight per class, as a sequence or a dict `{class index: weight}` (see
            `tailfit.weights.class_weights`), or a schedule. Each weight multiplies the log-probability of its class
            after smoothing, so soft labels are weighted, too.
        from_logits: Whether `y_pred` are logits. Required: omitting it raises `ArgumentError`.
        name, reduction, dtype: As in `keras.losses.Loss`.
    Shapes: `y_true` `(batch, ...)` or `(batch, ..., C)`, `y_pred` `(batch, ..., C)`; loss `(batch, ...)`, in nats.
    Raises:
        ArgumentError: If an option is out of range; when called, if shapes do not match.
    Source: Szegedy et al. 2016, arXiv:1512.00567, section 7 (label smoothing).

    >>> loss = CrossEntropy(from_logits=True)
    >>> round(float(loss([2, 0], [[2.0, 0.5, -1.0], [1.0, 1.0, 1.0]])), 4)
    2.17
    >>> one_hot = [[0.0, 0.0, 1.0], [1.0, 0.0, 0.0]]
    >>> round(float(loss(one_hot, [[2.0, 0.5, -1.0], [1.0, 1.0, 1.0]])), 4)
    2.17
    """

    function = staticmethod(cross_entropy)

    def __init__(
        self,
        *,
        label_smoothing: float | Schedule = 0.0,
        class_weights: PerClass | Schedule | None = None,
        from_logits: bool = REQUIRED,
        name: str | None = "cross_entropy",
        reduction: str | None = "sum_over_batch_size",
        dtype: Any = None,
    ) -> None:
        super().__init__(from_logits=from_logits, name=name, reduction=reduction, dtype=dtype)
        self.label_smoothing = self._schedulable("label_smoothing", label_smoothing, _checked_smoothing)
        self.class_weights = self._schedulable("class_weights", class_weights, checked_weights)


def _checked_smoothing(label_smoothing: Any) -> Any:
    fix = "use 0.1, or 0 to disable smoothing"
    return checked_number(label_smoothing, "label_smoothing", most=1.0, fix=fix)


def checked_weights(class_weights: Any) -> Any:
    """Check class weights and return a tuple with one weight per class, or None."""
    return None if class_weights is None else checked_per_class(class_weights, "class_weights")
