"""Label-distribution-aware margins (LDAM): the rarer a class, the larger its margin.

The margin of a class is proportional to count^(-1/4), which follows from a bound on the error of each class. It is
subtracted from the score of the true class, a cosine; then the cosines are scaled and passed to the softmax.
"""

from typing import Any

import keras

from tailfit.arguments import REQUIRED, checked_class_counts, checked_flag, checked_number
from tailfit.losses._base import ClassificationLoss
from tailfit.losses._numerics import class_constant, prepare
from tailfit.losses.cross_entropy_loss import PerClass, checked_weights
from tailfit.schedules import Schedule
from tailfit.targets import Tensor

__all__ = ["LDAM", "ldam"]


def ldam(
    y_true: Tensor,
    y_pred: Tensor,
    class_counts: Any,
    *,
    max_margin: float = 0.5,
    scale: float = 30.0,
    class_weights: PerClass | None = None,
    from_logits: bool = REQUIRED,
) -> Tensor:
    """Return the per-sample values of `LDAM`.

    >>> value = ldam([2], [[0.6, 0.1, -0.2]], [1000, 100, 10], from_logits=True)
    >>> round(float(value[0]), 4)  # about 30 * (0.6 - (-0.2 - 0.5)), as the other terms of the softmax are tiny
    39.0
    """
    max_margin, scale, weights = _checked_margin(max_margin), _checked_scale(scale), checked_weights(class_weights)
    counts = checked_class_counts(class_counts)
    labels, logits = prepare(y_true, y_pred, from_logits=checked_flag(from_logits))
    margins = max_margin * class_constant(counts, logits, "class_counts", _relative_margins)
    scores = scale * labels.added(logits, -margins)
    if weights is not None:
        labels = labels.weighted(class_constant(weights, logits, "class_weights"))
    return labels.cross_entropy(scores)


def _relative_margins(counts: Any) -> Any:
    return (counts / counts.min()) ** -0.25


@keras.saving.register_keras_serializable(package="tailfit")
class LDAM(ClassificationLoss):
    """Cross-entropy of `scale * (z - m * one_hot(y))`, with m = max_margin (n_min / n)^(1/4).

    The scores z should be cosines: end the network in `tailfit.layers.CosineDense(C)`. Unbounded scores grow until the
    margin has no effect. With a soft label, the margin of each class is multiplied by its share of the label.

    Args:
        class_counts: C counts > 0, or an object with `class_counts` (`batches`).
        max_margin: Margin of the rarest class, >= 0, or a schedule. With 0 this is cross-entropy of `scale * z`.
        scale: Factor of the cosines, > 0, or a schedule.
        class_weights: One weight per class, as a sequence or a dict `{class index: weight}`, or a schedule. With
            `schedules.Deferred` this is the authors' LDAM-DRW.
        from_logits: Whether `y_pred` are logits. Required: omitting it raises `ArgumentError`.
        name, reduction, dtype: As in `keras.losses.Loss`.
    Shapes: `y_true` is class indices `(batch, ...)` or `(batch, ..., 1)`, or one-hot or soft labels `(batch, ..., C)`;
        `y_pred` is cosines `(batch, ..., C)`; the per-sample loss is `(batch, ...)` in nats.
    Raises:
        ArgumentError: If a count is not > 0 or an option is out of range; when called, if shapes do not match or the
            number of classes differs.
    Source: Cao et al. 2019, arXiv:1906.07413, eq. 10 to 13.

    >>> loss = LDAM([1000, 100, 10], from_logits=True)
    >>> round(float(loss([1], [[0.3, 0.3, 0.3]])), 4)
    9.1284
    """

    function = staticmethod(ldam)

    def __init__(
        self,
        class_counts: Any,
        *,
        max_margin: float | Schedule = 0.5,
        scale: float | Schedule = 30.0,
        class_weights: PerClass | Schedule | None = None,
        from_logits: bool = REQUIRED,
        name: str | None = "ldam",
        reduction: str | None = "sum_over_batch_size",
        dtype: Any = None,
    ) -> None:
        super().__init__(from_logits=from_logits, name=name, reduction=reduction, dtype=dtype)
        self.class_counts = checked_class_counts(class_counts)
        self.max_margin = self._schedulable("max_margin", max_margin, _checked_margin)
        self.scale = self._schedulable("scale", scale, _checked_scale)
        self.class_weights = self._schedulable("class_weights", class_weights, checked_weights)


def _checked_margin(max_margin: Any) -> Any:
    return checked_number(max_margin, "max_margin", fix="use 0 to disable margins, or 0.5 as the authors do")


def _checked_scale(scale: Any) -> Any:
    return checked_number(scale, "scale", above=0.0, fix="use 30 as the authors do")
