"""Asymmetric losses: with many labels nearly all are absent, and must not dominate the few that are present.

Absent labels have their own, larger focusing exponent, and those with a low enough predicted probability do not count
at all.
"""

from typing import Any

import keras
from keras import ops

from tailfit.arguments import REQUIRED, checked_flag, checked_number
from tailfit.losses._base import ClassificationLoss
from tailfit.losses._binary import FocusedSum, MultiLabelLoss, Share, is_by_products, prepare_labels, total
from tailfit.losses._labels import Rows
from tailfit.losses._numerics import at_least_tiny, focus, is_whole, prepare, whole_power
from tailfit.losses._slopes import Slope, add_into, multiply_into, subtract_into, with_slopes
from tailfit.schedules import Schedule
from tailfit.targets import Tensor

__all__ = ["Asymmetric", "AsymmetricSingleLabel", "asymmetric", "asymmetric_single_label"]


def asymmetric(
    y_true: Tensor,
    y_pred: Tensor,
    *,
    gamma_neg: float = 4.0,
    gamma_pos: float = 1.0,
    clip: float = 0.05,
    from_logits: bool = REQUIRED,
) -> Tensor:
    """Return the per-sample values of `Asymmetric`.

    >>> value = asymmetric([[1, 0]], [[0.0, -9.0]], from_logits=True)
    >>> round(float(value[0]), 4)  # ln(2) / 2; the absent label has p < clip and costs nothing
    0.3466
    """
    gamma_neg, gamma_pos = _checked_gamma(gamma_neg, "gamma_neg"), _checked_gamma(gamma_pos, "gamma_pos")
    clip = _checked_clip(clip)
    targets, logits = prepare_labels(y_true, y_pred, from_logits=checked_flag(from_logits))
    # Slopes have a closed form unless an exponent is a variable (a schedule); shifted terms need a whole one, >= 1.
    closed_neg = is_whole(gamma_neg) and gamma_neg > 0 if clip > 0 else isinstance(gamma_neg, float)
    closed = closed_neg and isinstance(gamma_pos, float)

    def terms(logits: Tensor, targets: Tensor) -> tuple[Tensor, list[Slope]]:
        p, q = Share.both(logits, log_of_absent=not (closed and clip > 0 and is_by_products(gamma_pos)))
        others = 1.0 - targets
        hit = FocusedSum(targets, p, q, gamma_pos)
        miss = _ShiftedSum(others, p, q, gamma_neg, clip) if clip > 0 else FocusedSum(others, q, p, gamma_neg)
        slopes = [lambda: subtract_into(miss.slope(), hit.slope()), lambda: miss.terms() - hit.terms()]
        return -total(hit.weighted(), miss.weighted()), slopes

    return with_slopes(terms, logits, targets) if closed else terms(logits, targets)[0]


class _ShiftedSum:
    """The terms `w s^gamma log(1 - s)` of absent labels, s = max(p - clip, 0); see `FocusedSum`.

    As for `FocusedSum(weights, q, p, gamma)`, the derivative is by the logit of q = 1 - p.
    """

    def __init__(self, weights: Tensor, p: Share, q: Share, gamma: Any, clip: float) -> None:
        self._p, self._q, self._gamma, self._weights = p, q, gamma, weights
        self._shifted = ops.relu(p.value - clip)
        self._log_rest = ops.log1p(-self._shifted)
        if is_whole(gamma) and gamma > 1:  # the power that the derivative needs, too
            lower = whole_power(self._shifted, int(gamma) - 1)
            # For gamma = 2, `lower` is `_shifted` itself, which is still needed.
            self._weights = lower * weights if gamma == 2 else multiply_into(lower, weights)

    def weighted(self) -> Tensor:
        """Return the terms."""
        if is_whole(self._gamma) and self._gamma > 1:
            return multiply_into(self._weights * self._shifted, self._log_rest)
        return multiply_into(self.terms(), self._weights)

    def terms(self) -> Tensor:
        """Return the terms without weights."""
        return _power(self._shifted, self._gamma) * self._log_rest

    def slope(self) -> Tensor:
        """Return the derivative; `gamma` must be a whole number >= 1."""
        # The derivative by s is s^(gamma - 1) (gamma log(1 - s) - s / (1 - s)). It is 0 at s = 0, and so are the
        # gradients of all p < clip, as they should be.
        change = subtract_into(self._shifted / (1.0 - self._shifted), self._gamma * self._log_rest)
        for factor in (self._weights, self._p.value, self._q.value):
            change = multiply_into(change, factor)
        return change


def _power(x: Tensor, gamma: Any) -> Tensor:
    """Return `x ** gamma` of x >= 0, with a finite gradient."""
    return whole_power(x, int(gamma)) if is_whole(gamma) and gamma > 0 else ops.exp(gamma * ops.log(at_least_tiny(x)))


def asymmetric_single_label(
    y_true: Tensor,
    y_pred: Tensor,
    *,
    gamma_neg: float = 4.0,
    gamma_pos: float = 0.0,
    label_smoothing: float = 0.1,
    from_logits: bool = REQUIRED,
) -> Tensor:
    """Return the per-sample values of `AsymmetricSingleLabel`.

    >>> value = asymmetric_single_label([1], [[0.0, 0.0]], label_smoothing=0.0, from_logits=True)
    >>> round(float(value[0]), 4)
    0.6931
    """
    gamma_neg, gamma_pos = _checked_gamma(gamma_neg, "gamma_neg"), _checked_gamma(gamma_pos, "gamma_pos")
    label_smoothing = _checked_smoothing(label_smoothing)
    labels, logits = prepare(y_true, y_pred, from_logits=checked_flag(from_logits))
    spread = label_smoothing / logits.shape[-1]
    if labels.is_indices and isinstance(label_smoothing, float) and label_smoothing > 0:
        log_p = ops.log_softmax(logits, axis=-1)
        labelled = labels.of(log_p)
        others = _defocused_sum(log_p, gamma_neg) - _defocused(labelled, gamma_neg)
        own = (1.0 - label_smoothing + spread) * _focused(labelled, gamma_pos)
        return -labels.sum(own + spread * others)
    targets = labels.rows()
    own, others = targets * (1.0 - label_smoothing + spread), (1.0 - targets) * spread  # smoothed one-hot labels
    log_p = Rows(own + others).log_softmax(logits)
    return -ops.sum(own * _focused(log_p, gamma_pos) + others * _defocused(log_p, gamma_neg), axis=-1)


def _focused(log_p: Tensor, gamma: Any) -> Tensor:
    """Return `(1 - p)^gamma log p`."""
    return log_p if is_whole(gamma) and gamma == 0 else focus(log_p, gamma) * log_p


def _defocused(log_p: Tensor, gamma: Any) -> Tensor:
    """Return `p^gamma log p`."""
    return ops.exp(gamma * log_p) * log_p


def _defocused_sum(log_p: Tensor, gamma: Any) -> Tensor:
    """Return the sum of `p^gamma log p` over classes."""

    def terms(log_p: Tensor) -> tuple[Tensor, list[Slope]]:
        power = ops.exp(gamma * log_p)
        return ops.sum(power * log_p, axis=-1), [lambda: multiply_into(add_into(gamma * log_p, 1.0), power)]

    return with_slopes(terms, log_p) if isinstance(gamma, float) else terms(log_p)[0]


@keras.saving.register_keras_serializable(package="tailfit")
class Asymmetric(MultiLabelLoss):
    """`-(1 - p)^gamma_pos log p` for present labels, `-q^gamma_neg log(1 - q)` for absent ones, q = max(p - clip, 0).

    The shift by `clip` bounds the effect of an absent label. An absent label that is predicted with high confidence was
    probably forgotten by the annotator; its gradient vanishes. A soft label weights both terms.

    Args:
        gamma_neg: Focusing exponent of absent labels, >= 0, or a schedule.
        gamma_pos: Focusing exponent of present labels, >= 0, or a schedule; usually smaller than `gamma_neg`.
        clip: Probability below which an absent label costs nothing, in [0, 0.99]. If `clip` and both exponents are 0,
            this is binary cross-entropy.
        from_logits: Whether `y_pred` are logits. Required: omitting it raises `ArgumentError`.
        name, reduction, dtype: As in `keras.losses.Loss`.
    Shapes: `y_true` `(batch, ..., C)` or `(batch, ...)`, `y_pred` `(batch, ..., C)`; loss `(batch, ...)`, in nats.
    Raises:
        ArgumentError: If an option is out of range; when called, if shapes do not match.
    Source: Ridnik et al. 2021, arXiv:2009.14119, eq. 7.

    >>> loss = Asymmetric(from_logits=True)
    >>> round(float(loss([[0, 0, 1]], [[2.0, 0.5, -1.0]])), 4)
    1.8977
    """

    function = staticmethod(asymmetric)

    def __init__(
        self,
        *,
        gamma_neg: float | Schedule = 4.0,
        gamma_pos: float | Schedule = 1.0,
        clip: float = 0.05,
        from_logits: bool = REQUIRED,
        name: str | None = "asymmetric",
        reduction: str | None = "sum_over_batch_size",
        dtype: Any = None,
    ) -> None:
        super().__init__(from_logits=from_logits, name=name, reduction=reduction, dtype=dtype)
        self.gamma_neg = self._schedulable("gamma_neg", gamma_neg, lambda value: _checked_gamma(value, "gamma_neg"))
        self.gamma_pos = self._schedulable("gamma_pos", gamma_pos, lambda value: _checked_gamma(value, "gamma_pos"))
        self.clip = _checked_clip(clip)


@keras.saving.register_keras_serializable(package="tailfit")
class AsymmetricSingleLabel(ClassificationLoss):
    """Asymmetric loss over C exclusive classes: smoothed cross-entropy with a focusing exponent for each kind of term.

    The term of the true class is multiplied by `(1 - p)^gamma_pos`. The terms of the other classes, which exist only
    because of the smoothing, are multiplied by `p^gamma_neg`.

    Args:
        gamma_neg: Focusing exponent of the other classes, >= 0, or a schedule.
        gamma_pos: Focusing exponent of the true class, >= 0, or a schedule.
        label_smoothing: Share of each label that is distributed evenly over the C classes, in [0, 1], or a schedule.
        from_logits: Whether `y_pred` are logits. Required: omitting it raises `ArgumentError`.
        name, reduction, dtype: As in `keras.losses.Loss`.
    Shapes: `y_true` `(batch, ...)` or `(batch, ..., C)`, `y_pred` `(batch, ..., C)`; loss `(batch, ...)`, in nats.
    Raises:
        ArgumentError: If an option is out of range; when called, if shapes do not match.
    Source: Ridnik et al. 2021, arXiv:2009.14119, the authors' single-label code.

    >>> loss = AsymmetricSingleLabel(from_logits=True)
    >>> round(float(loss([2], [[2.0, 0.5, -1.0]])), 4)
    3.0283
    """

    function = staticmethod(asymmetric_single_label)

    def __init__(
        self,
        *,
        gamma_neg: float | Schedule = 4.0,
        gamma_pos: float | Schedule = 0.0,
        label_smoothing: float | Schedule = 0.1,
        from_logits: bool = REQUIRED,
        name: str | None = "asymmetric_single_label",
        reduction: str | None = "sum_over_batch_size",
        dtype: Any = None,
    ) -> None:
        super().__init__(from_logits=from_logits, name=name, reduction=reduction, dtype=dtype)
        self.gamma_neg = self._schedulable("gamma_neg", gamma_neg, lambda value: _checked_gamma(value, "gamma_neg"))
        self.gamma_pos = self._schedulable("gamma_pos", gamma_pos, lambda value: _checked_gamma(value, "gamma_pos"))
        self.label_smoothing = self._schedulable("label_smoothing", label_smoothing, _checked_smoothing)


def _checked_gamma(gamma: Any, name: str) -> Any:
    return checked_number(
        gamma, name, fix="use gamma_neg=4 and gamma_pos=1 as the authors do, or 0 to disable focusing"
    )


def _checked_clip(clip: Any) -> float:
    return float(checked_number(clip, "clip", most=0.99, fix="use 0 to disable the shift, or 0.05 as the authors do"))


def _checked_smoothing(label_smoothing: Any) -> Any:
    fix = "use 0 to disable smoothing, or 0.1 as the authors do"
    return checked_number(label_smoothing, "label_smoothing", most=1.0, fix=fix)
