"""The base class of multi-label losses: C independent labels, with sigmoids in place of one softmax.

Such a loss is a sum over the C labels, with one term for labels that are present and one for labels that are absent.
Both are computed in log space: `log_sigmoid(-z)` is log(1 - p) to the last digit.
"""

from typing import Any

from keras import ops

from tailfit.losses._base import ClassificationLoss
from tailfit.losses._numerics import at_least_tiny, is_whole, prepare_rows
from tailfit.targets import Tensor

__all__ = [
    "MultiLabelLoss",
    "binary_sum",
    "focused",
    "log_sigmoids",
    "logits_of_sigmoid",
    "prepare_labels",
]

# Replaces infinite logits, since 0 * inf is NaN.
_MAX_LOGIT = 1e30


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


def log_sigmoids(logits: Tensor) -> tuple[Tensor, Tensor]:
    """Return log p and log(1 - p), finite for every logit except NaN."""
    logits = ops.clip(logits, -_MAX_LOGIT, _MAX_LOGIT)
    return ops.log_sigmoid(logits), ops.log_sigmoid(-logits)


def focused(log_right: Tensor, log_wrong: Tensor, gamma: Any) -> Tensor:
    """Return `exp(log_wrong)^gamma log_right`.

    A power of the sigmoid would do, but backends compute its gradient as p (1 - p), with few digits of 1 - p near 1.
    """
    if not is_whole(gamma):
        return ops.exp(gamma * log_wrong) * log_right
    if gamma == 0:
        return log_right
    return ops.exp(log_wrong if gamma == 1 else gamma * log_wrong) * log_right


def binary_sum(logits: Tensor, present: Tensor, absent: Tensor, *, gamma: Any = 0.0) -> Tensor:
    """Return `sum_k -present_k (1 - p_k)^gamma log p_k - absent_k p_k^gamma log(1 - p_k)` of each sample.

    Args:
        logits: Logits `(batch, ..., C)`.
        present, absent: Weights of the two terms of each label, usually y and 1 - y.
        gamma: Focusing exponent.
    """
    log_p, log_q = log_sigmoids(logits)
    return -ops.sum(present * focused(log_p, log_q, gamma) + absent * focused(log_q, log_p, gamma), axis=-1)
