"""Losses over labels that are each present or absent by themselves: C sigmoids in place of one softmax.

A loss of this kind is the sum over the C labels of a term where the label is present and one where it is absent, each
in log space: `log_sigmoid(-z)` is log(1 - p), to the last digit.
"""

from typing import Any

from keras import ops

from tailfit.losses._base import ClassificationLoss
from tailfit.losses._numerics import at_least_tiny, prepare
from tailfit.targets import Tensor

__all__ = ["MultiLabelLoss", "binary_terms", "log_sigmoids", "logits_of_sigmoid", "prepare_labels"]

# In place of an infinite logit: 0 * inf is NaN, 0 times this is 0.
_FAR = 1e30


class MultiLabelLoss(ClassificationLoss):
    """Base of the losses over C labels of which any number are present; one output is a binary problem."""

    activation = "sigmoid"
    fewest = 1


def logits_of_sigmoid(p: Tensor) -> Tensor:
    """log p - log(1 - p), finite: below the smallest normal number (1e-38 in float32) either counts as that number."""
    return ops.log(at_least_tiny(p)) - ops.log(at_least_tiny(1.0 - p))


def prepare_labels(y_true: Any, y_pred: Any, *, from_logits: bool) -> tuple[Tensor, Tensor]:
    """Dense 0/1 labels and logits, both `(batch, ..., C)` with C >= 1, and in float32 (float64 stays)."""
    return prepare(y_true, y_pred, from_logits=from_logits, to_logits=logits_of_sigmoid, fewest=1)


def log_sigmoids(logits: Tensor) -> tuple[Tensor, Tensor]:
    """log p and log(1 - p), finite for every logit that is no NaN."""
    logits = ops.clip(logits, -_FAR, _FAR)
    return ops.log_sigmoid(logits), ops.log_sigmoid(-logits)


def binary_terms(targets: Tensor, logits: Tensor, *, gamma: Any = 0.0) -> tuple[Tensor, Tensor]:
    """`-y (1 - p)^gamma log p` and `-(1 - y) p^gamma log(1 - p)`, of each label."""
    log_p, log_q = log_sigmoids(logits)
    return -targets * ops.exp(gamma * log_q) * log_p, -(1.0 - targets) * ops.exp(gamma * log_p) * log_q
