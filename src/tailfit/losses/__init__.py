"""Losses for classification with long tails: `keras.losses.Loss` classes, and their per-sample functions.

Every one takes integer codes, or one-hot or soft labels, of the same problem; works in log space; and
must be told `from_logits`, which has no default.
"""

from tailfit.losses.cross_entropy import CrossEntropy, cross_entropy
from tailfit.losses.focal import Focal, focal
from tailfit.losses.logit_adjusted import BalancedSoftmax, LogitAdjusted, balanced_softmax, logit_adjusted

__all__ = [
    "BalancedSoftmax",
    "CrossEntropy",
    "Focal",
    "LogitAdjusted",
    "balanced_softmax",
    "cross_entropy",
    "focal",
    "logit_adjusted",
]
