"""Multi-label data under a long tail: drawing a rare label draws its frequent companions too.

Three remedies in one: each label of a sample is weighed by how often the sample would be drawn for its sake, among all
its labels; logits are shifted by the label's frequency; and absent labels, nearly all of them, soon pull no more once
they are right.
"""

from typing import Any

import keras
import numpy as np
from keras import ops

from tailfit.arguments import REQUIRED, checked_class_counts, checked_flag, checked_number
from tailfit.errors import ArgumentError
from tailfit.hyperparameters import followed
from tailfit.losses._binary import MultiLabelLoss, binary_terms, prepare_labels
from tailfit.losses._numerics import at_least_tiny, class_constant
from tailfit.losses.focal import checked_gamma
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
    """Per-sample values of `DistributionBalanced`, which see.

    >>> value = distribution_balanced([[1, 0]], [[0.0, 0.0]], [5, 5], num_samples=10, gamma=0.0, from_logits=True)
    >>> round(float(value[0]), 4)  # 1.0997 ln 2, and half of it
    1.1433
    """
    counts = np.array(checked_class_counts(class_counts))
    total = _checked_total(num_samples, counts)
    alpha, beta, mu = (_checked(value, name) for value, name in ((alpha, "alpha"), (beta, "beta"), (mu, "mu")))
    kappa, neg_scale, gamma = _checked(kappa, "kappa"), _checked_neg_scale(neg_scale), checked_gamma(gamma)
    targets, logits = prepare_labels(y_true, y_pred, from_logits=checked_flag(from_logits))
    rarity = class_constant(tuple(counts.min() / counts), logits, "class_counts")
    # A sample without a label is drawn for none: as in the authors' code, where 1 / 0 is infinite, all weigh most.
    own_share = rarity / at_least_tiny(ops.sum(targets * rarity, axis=-1, keepdims=True))
    weights = alpha + ops.sigmoid(beta * (own_share - mu))
    shift = kappa / neg_scale * class_constant(tuple(-np.log(total / counts - 1.0)), logits, "class_counts")
    shifted = (logits + shift) * (targets + (1.0 - targets) * neg_scale)
    present, absent = binary_terms(targets, shifted, gamma=gamma)
    return ops.sum(weights * (present + absent / neg_scale), axis=-1)


@keras.saving.register_keras_serializable(package="tailfit")
class DistributionBalanced(MultiLabelLoss):
    """Focal binary cross-entropy, re-balanced and negative-tolerant, summed over the labels.

    With r_j = (1 / n_j) / sum over the sample's labels of 1 / n, label j weighs `alpha + sigmoid(beta (r_j - mu))`; its
    logit is z - nu_j, nu_j = kappa / neg_scale log(N / n_j - 1); and of an absent label the logit is multiplied by
    `neg_scale`, the loss divided by it. (The authors' code averages over labels and doubles: 2 / C of this.)

    Args:
        class_counts: C counts > 0 of samples that have each label, or what has them (`batches`).
        num_samples: N, the number of samples, above all counts.
        alpha: Least weight of a label, >= 0.
        beta, mu: Steepness and middle of the weight's rise with r_j.
        kappa: Strength of the shift by frequency, >= 0.
        neg_scale: How much sooner absent labels cease to pull once they are right, > 0; the paper's lambda.
        gamma: Focusing exponent, >= 0, or a schedule of it.
        from_logits: Whether `y_pred` are logits. No default: leaving it out is an `ArgumentError`.
        name, reduction, dtype: As in `keras.losses.Loss`.
    Shapes: `y_true` 0, 1 or between `(batch, ..., C)`, or codes of samples with one label `(batch, ...)`; `y_pred`
        `(batch, ..., C)`, C = 1 for a binary problem; per-sample loss `(batch, ...)` in nats, the sum over labels.
    Raises:
        ArgumentError: at once for a value out of range, or a label that every sample has; at the first call where the
            network has another number of labels.
    Source: Wu et al. 2020, arXiv:2007.09654, eq. 3 to 8; the defaults are those of the authors' configuration for COCO.

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
        self.gamma = followed(gamma, checked_gamma, name="gamma", dtype=self.dtype)


def _checked(value: Any, name: str) -> Any:
    return checked_number(value, name, fix="the authors take alpha=0.1, beta=10, mu=0.2, kappa=0.05")


def _checked_neg_scale(neg_scale: Any) -> Any:
    return checked_number(neg_scale, "neg_scale", above=0.0, fix="use 1 to treat both alike, 2 as the authors do")


def _checked_total(num_samples: Any, counts: Any) -> float:
    total = float(checked_number(num_samples, "num_samples", above=0.0, fix="pass the number of samples"))
    if not (counts < total).all():
        raise ArgumentError(
            f"num_samples={num_samples!r} beside a count of {counts.max():g} for class {int(np.argmax(counts))}",
            expected="more samples than any label has",
            fix="pass len(source); a label that every sample has teaches nothing, so drop it",
        )
    return total
