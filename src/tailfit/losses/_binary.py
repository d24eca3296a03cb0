"""The base class of multi-label losses: C independent labels, with sigmoids in place of one softmax.

Such a loss is a sum over the C labels, with one term for labels that are present and one for labels that are absent.
Both are computed in log space: `log_sigmoid(-z)` is log(1 - p) to the last digit.
"""

from typing import Any, NamedTuple

import keras
from keras import ops

from tailfit.losses._base import ClassificationLoss
from tailfit.losses._numerics import at_least_tiny, is_whole, prepare_rows, whole_power
from tailfit.losses._slopes import Slope, add_into, multiply_into, subtract_into, with_slopes
from tailfit.targets import Tensor

__all__ = [
    "FocusedSum",
    "MultiLabelLoss",
    "Share",
    "binary_sum",
    "is_by_products",
    "logits_of_sigmoid",
    "prepare_labels",
    "scaled",
    "total",
]

# Replaces infinite logits, since 0 * inf is NaN.
_MAX_LOGIT = 1e30
# A power with a larger exponent is computed by an exponential function.
_MOST_PRODUCTS = 4


class MultiLabelLoss(ClassificationLoss):
    """Base of the losses over C independent labels; one output is a binary problem."""

    activation = "sigmoid"
    min_outputs = 1


def logits_of_sigmoid(p: Tensor) -> Tensor:
    """Return log p - log(1 - p), finite: both are at least the smallest normal number (1e-38 in float32)."""
    return ops.log(at_least_tiny(p)) - ops.log(at_least_tiny(1.0 - p))


def prepare_labels(y_true: Any, y_pred: Any, *, from_logits: bool) -> tuple[Tensor, Tensor]:
    """Return dense 0/1 labels and logits, both `(batch, ..., C)` with C >= 1, in float32 (float64 for float64)."""
    return prepare_rows(y_true, y_pred, from_logits=from_logits, to_logits=logits_of_sigmoid, min_outputs=1)


class Share(NamedTuple):
    """The probability p or 1 - p of each label, and its logarithm, which is None if nothing needs it."""

    log: Tensor | None
    value: Tensor

    @classmethod
    def both(cls, logits: Tensor, *, log_of_absent: bool = True) -> tuple["Share", "Share"]:
        """Return p and 1 - p, with logarithms that are finite for every logit except NaN.

        Args:
            logits: Logits `(batch, ..., C)`.
            log_of_absent: Whether log(1 - p) is needed. If not, 1 - p takes one pass where backends do not
                differentiate the formula.
        """
        if keras.backend.backend() == "torch":  # one pass; a clip takes six times as long there
            logits = ops.nan_to_num(logits, nan=float("nan"), posinf=_MAX_LOGIT, neginf=-_MAX_LOGIT)
        else:
            logits = ops.clip(logits, -_MAX_LOGIT, _MAX_LOGIT)
        # The sigmoid itself would do, but backends compute its gradient as p (1 - p), with few digits of 1 - p near 1.
        log_p = ops.log_sigmoid(logits)
        p = cls(log_p, ops.exp(log_p))
        if not log_of_absent and keras.backend.backend() != "jax":
            return p, cls(None, ops.sigmoid(-logits))
        log_q = ops.log_sigmoid(-logits)
        return p, cls(log_q, ops.exp(log_q))


def binary_sum(
    logits: Tensor,
    targets: Tensor,
    *,
    present: Any = 1.0,
    absent: Any = 1.0,
    weights: Tensor = None,
    gamma: Any = 0.0,
) -> Tensor:
    """Return the sum over labels of `-w (a y (1 - p)^gamma log p + b (1 - y) p^gamma log(1 - p))`.

    Args:
        logits: Logits `(batch, ..., C)`.
        targets: The labels y, in the shape of the logits.
        present, absent: The factors a and b of the two terms, numbers or one per label `(C,)`.
        weights: The weights w, in the shape of the logits; None is 1.
        gamma: Focusing exponent.
    """

    def terms(logits: Tensor, targets: Tensor, *weights: Tensor) -> tuple[Tensor, list[Slope]]:
        p, q = Share.both(logits)
        hit = FocusedSum(scaled(targets, present, *weights), p, q, gamma)
        miss = FocusedSum(scaled(1.0 - targets, absent, *weights), q, p, gamma)
        slopes = [  # by the logits, the labels and the weights
            lambda: subtract_into(miss.slope(), hit.slope()),
            lambda: scaled(miss.terms(), absent, *weights) - scaled(hit.terms(), present, *weights),
            lambda: -targets * scaled(hit.terms(), present) - (1.0 - targets) * scaled(miss.terms(), absent),
        ]
        return -total(hit.weighted(), miss.weighted()), slopes[: 2 + len(weights)]

    arguments = (logits, targets) if weights is None else (logits, targets, weights)
    return with_slopes(terms, *arguments) if isinstance(gamma, float) else terms(*arguments)[0]


class FocusedSum:
    """The terms `w (1 - p)^gamma log p` of the labels, and their derivative by the logit of p.

    Args:
        weights: The weights w `(batch, ..., C)`.
        right, wrong: p and 1 - p.
        gamma: Focusing exponent.
    """

    def __init__(self, weights: Tensor, right: Share, wrong: Share, gamma: Any) -> None:
        self._right, self._wrong, self._gamma = right, wrong, gamma
        self._weights = weights
        if not is_by_products(gamma):
            self._weights = weights * ops.exp(gamma * wrong.log)
        elif gamma > 0:
            self._weights = weights * wrong.value
            for _ in range(int(gamma) - 1):
                self._weights = multiply_into(self._weights, wrong.value)

    def weighted(self) -> Tensor:
        """Return the terms."""
        return self._weights * self._right.log

    def terms(self) -> Tensor:
        """Return the terms without weights."""
        if is_whole(self._gamma) and self._gamma == 0:
            return self._right.log
        if self._wrong.log is None:
            return whole_power(self._wrong.value, int(self._gamma)) * self._right.log
        return ops.exp(self._gamma * self._wrong.log) * self._right.log

    def slope(self) -> Tensor:
        """Return the derivative by the logit of p; `gamma` must be a number."""
        if self._gamma == 0:
            return self._weights * self._wrong.value
        change = multiply_into(self._right.value * self._right.log, -self._gamma)
        return multiply_into(add_into(change, self._wrong.value), self._weights)


def total(hit: Tensor, miss: Tensor) -> Tensor:
    """Return the sum of the terms of present and of absent labels over the labels of each sample."""
    # For XLA one sum is one loop over the scores; elsewhere adding is a pass of its own.
    if keras.backend.backend() == "jax":
        return ops.sum(hit + miss, axis=-1)
    return ops.sum(hit, axis=-1) + ops.sum(miss, axis=-1)


def is_by_products(gamma: Any) -> bool:
    """Return whether `FocusedSum` computes a power without the logarithm of its base."""
    return is_whole(gamma) and bool(gamma <= _MOST_PRODUCTS)


def scaled(values: Tensor, *factors: Any) -> Tensor:
    """Return the product, without multiplications by the number 1."""
    for factor in factors:
        values = values if isinstance(factor, float) and factor == 1 else values * factor
    return values
