"""Losses for classification with long tails: `keras.losses.Loss` classes, and their per-sample functions.

Every one takes integer codes, or one-hot or soft labels, of the same problem; works in log space; and
must be told `from_logits`, which has no default.
"""

from tailfit.losses.binary_focal import BinaryFocal, binary_focal
from tailfit.losses.bootstrapping import Bootstrapping, bootstrapping
from tailfit.losses.class_balanced import ClassBalanced, class_balanced
from tailfit.losses.cross_entropy import CrossEntropy, cross_entropy
from tailfit.losses.focal import Focal, focal
from tailfit.losses.generalized import (
    GeneralizedCrossEntropy,
    MeanAbsolute,
    generalized_cross_entropy,
    mean_absolute,
)
from tailfit.losses.ldam import LDAM, ldam
from tailfit.losses.logit_adjusted import BalancedSoftmax, LogitAdjusted, balanced_softmax, logit_adjusted
from tailfit.losses.symmetric import SymmetricCrossEntropy, symmetric_cross_entropy
from tailfit.losses.vector_scaling import VectorScaling, vector_scaling

__all__ = [
    "LDAM",
    "BalancedSoftmax",
    "BinaryFocal",
    "Bootstrapping",
    "ClassBalanced",
    "CrossEntropy",
    "Focal",
    "GeneralizedCrossEntropy",
    "LogitAdjusted",
    "MeanAbsolute",
    "SymmetricCrossEntropy",
    "VectorScaling",
    "balanced_softmax",
    "binary_focal",
    "bootstrapping",
    "class_balanced",
    "cross_entropy",
    "focal",
    "generalized_cross_entropy",
    "ldam",
    "logit_adjusted",
    "mean_absolute",
    "symmetric_cross_entropy",
    "vector_scaling",
]
