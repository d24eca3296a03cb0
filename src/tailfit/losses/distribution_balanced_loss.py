"""Distribution-balanced loss for long-tailed multi-label data.

Over-sampling a rare label also over-samples the frequent labels that occur with it. The loss combines three remedies:
it weights each label of a sample by the share of the draws of this sample that are due to this label; it shifts logits
by the frequency of the label; and it reduces the gradient of absent labels once they are predicted correctly.
"""

import functools
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
from keras import ops

from tailfit.arguments import REQUIRED, checked_class_counts, checked_flag, checked_number
from tailfit.errors import ArgumentError
from tailfit.losses._binary import MultiLabelLoss, binary_sum, prepare_labels
from tailfit.losses._numerics import at_least_tiny, class_constant
from tailfit.losses.focal_loss import checked_gamma
from tailfit.schedules import Schedule
from tailfit.targets import Tensor

__all__ = ["DistributionBalanced", "distribution_balanced"]


def distribution_balanced(
    y_true: Tensor,
    y_pred: Tensor,
    class_counts: Any,
    *,
    num_samples: float,
    alpha: float = 0.1,
    beta: float = 10.0,
    mu: float = 0.2,
    kappa: float = 0.05,
    neg_scale: float = 2.0,
    gamma: float = 2.0,
    from_logits: bool = REQUIRED,
) -> Tensor:
    """Return the per-sample values of `DistributionBalanced`.

    >>> value = distribution_balanced([[1, 0]], [[0.0, 0.0]], [5, 5], num_samples=10, gamma=0.0, from_logits=True)
    >>> round(float(value[0]), 4)  # 1.0997 ln 2 for the present label, half of it for the absent one
    1.1433
    """
    counts = checked_class_counts(class_counts)
    total = _checked_total(num_samples, counts.array(None, "float64"))
    alpha, beta, mu = (_checked(value, name) for value, name in ((alpha, "alpha"), (beta, "beta"), (mu, "mu")))
    kappa, neg_scale, gamma = _checked(kappa, "kappa"), _checked_neg_scale(neg_scale), checked_gamma(gamma)
    targets, logits = prepare_labels(y_true, y_pred, from_logits=checked_flag(from_logits))
    rarity = class_constant(counts, logits, "class_counts", _rarity)
    # Without any label the share is 1 / 0: all labels get the maximum weight, as in the authors' code.
    own_share = rarity / at_least_tiny(ops.sum(targets * rarity, axis=-1, keepdims=True))
    weights = alpha + ops.sigmoid(beta * (own_share - mu))
    log_odds = class_constant(counts, logits, "class_counts", _log_odds_of(total))
    shifted = (logits + kappa / neg_scale * log_odds) * (neg_scale + (1.0 - neg_scale) * targets)
    return binary_sum(shifted, targets, absent=1.0 / neg_scale, weights=weights, gamma=gamma)


def _rarity(counts: Any) -> Any:
    return counts.min() / counts


@functools.lru_cache(maxsize=64)  # `PerClass.array` keeps its result by function, so the same total needs the same one
def _log_odds_of(total: float) -> Callable[[Any], Any]:
    return lambda counts: -np.log(total / counts - 1.0)


@keras.saving.register_keras_serializable(package="tailfit")
class DistributionBalanced(MultiLabelLoss):
    """Focal binary cross-entropy, re-balanced and negative-tolerant, summed over the labels.

    With r_j = (1 / n_j) / (sum of 1 / n over the sample's labels), the weight of label j is
    `alpha + sigmoid(beta (r_j - mu))`, and its logit is z - nu_j with nu_j = kappa / neg_scale log(N / n_j - 1). For
    absent labels the logit is multiplied by `neg_scale` and the loss divided by it. (The authors' code averages over
    labels and doubles the result: 2 / C times this loss.)

    Args:
        class_counts: For each label, the number > 0 of samples that have it; or an object with `class_counts`
            (`batches`).
        num_samples: N, the number of samples, greater than every count.
        alpha: Minimum weight of a label, >= 0.
        beta, mu: Steepness and midpoint of the sigmoid from r_j to the weight, >= 0.
        kappa: Strength of the shift by frequency, >= 0.
        neg_scale: Scale of the logits of absent labels, > 0: the larger, the sooner their gradient vanishes once they
            are predicted correctly. The paper's lambda.
        gamma: Focusing exponent, >= 0, or a schedule.
        from_logits: Whether `y_pred` are logits. Required: omitting it raises `ArgumentError`.
        name, reduction, dtype: As in `keras.losses.Loss`.
    Shapes: `y_true` `(batch, ..., C)` or `(batch, ...)`, `y_pred` `(batch, ..., C)`; loss `(batch, ...)`, in nats.
    Raises:
        ArgumentError: If an option is out of range or every sample has some label; when called, if shapes do not match
            or the number of labels differs.
    Source: Wu et al. 2020, arXiv:2007.09654, eq. 3 to 8; defaults from the authors' configuration for COCO.

    >>> loss = DistributionBalanced([60, 20, 5], num_samples=100, from_logits=True)
    >>> round(float(loss([[1, 0, 1]], [[2.0, 0.5, -1.0]])), 4)
    1.0553
    """

    function = staticmethod(distribution_balanced)

    def __init__(
        self,
        class_counts: Any,
        *,
        num_samples: float,
        alpha: float = 0.1,
        beta: float = 10.0,
        mu: float = 0.2,
        kappa: float = 0.05,
        neg_scale: float = 2.0,
        gamma: float | Schedule = 2.0,
        from_logits: bool = REQUIRED,
        name: str | None = "distribution_balanced",
        reduction: str | None = "sum_over_batch_size",
        dtype: Any = None,
    ) -> None:
        super().__init__(from_logits=from_logits, name=name, reduction=reduction, dtype=dtype)
        self.class_counts = checked_class_counts(class_counts)
        self.num_samples = _checked_total(num_samples, np.array(self.class_counts))
        self.alpha, self.beta, self.mu = _checked(alpha, "alpha"), _checked(beta, "beta"), _checked(mu, "mu")
        self.kappa, self.neg_scale = _checked(kappa, "kappa"), _checked_neg_scale(neg_scale)
        self.gamma = self._schedulable("gamma", gamma, checked_gamma)


def _checked(value: Any, name: str) -> Any:
    return checked_number(value, name, fix="use alpha=0.1, beta=10, mu=0.2 and kappa=0.05 as the authors do")


def _checked_neg_scale(neg_scale: Any) -> Any:
    fix = "use 1 to treat present and absent labels alike, or 2 as the authors do"
    return checked_number(neg_scale, "neg_scale", above=0.0, fix=fix)


def _checked_total(num_samples: Any, counts: Any) -> float:
    total = float(checked_number(num_samples, "num_samples", above=0.0, fix="pass the number of samples"))
    if not (counts < total).all():
        raise ArgumentError(
            f"num_samples={num_samples!r} with a count of {counts.max():g} for class {int(np.argmax(counts))}",
            expected="num_samples greater than the count of every label",
            fix="pass len(source), and remove labels that every sample has",
        )
    return total
