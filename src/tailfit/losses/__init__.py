"""Losses for long-tailed classification: `keras.losses.Loss` classes and functions of their per-sample values.

All losses accept integer, one-hot and soft labels, compute in log space, and require `from_logits`, which has no
default.
"""

from tailfit.losses.active_passive import (
    ActivePassive,
    NormalizedCrossEntropy,
    active_passive,
    normalized_cross_entropy,
)
from tailfit.losses.asymmetric import Asymmetric, AsymmetricSingleLabel, asymmetric, asymmetric_single_label
from tailfit.losses.binary_focal import BinaryFocal, binary_focal
from tailfit.losses.bootstrapping import Bootstrapping, bootstrapping
from tailfit.losses.class_balanced import ClassBalanced, class_balanced
from tailfit.losses.cross_entropy import CrossEntropy, cross_entropy
from tailfit.losses.distribution_balanced import DistributionBalanced, distribution_balanced
from tailfit.losses.equalization import Equalization, equalization
from tailfit.losses.focal import Focal, focal
from tailfit.losses.generalized import GeneralizedCrossEntropy, MeanAbsolute, generalized_cross_entropy, mean_absolute
from tailfit.losses.influence_balanced import InfluenceBalanced, influence_balanced
from tailfit.losses.label_aware import LabelAwareSmoothing, label_aware_smoothing
from tailfit.losses.ldam import LDAM, ldam
from tailfit.losses.logit_adjusted import BalancedSoftmax, LogitAdjusted, balanced_softmax, logit_adjusted
from tailfit.losses.logit_norm import LogitNorm, logit_norm
from tailfit.losses.mean_false_error import MeanFalseError, mean_false_error
from tailfit.losses.poly import Poly1, poly1
from tailfit.losses.seesaw import Seesaw, seesaw
from tailfit.losses.symmetric import SymmetricCrossEntropy, symmetric_cross_entropy
from tailfit.losses.vector_scaling import VectorScaling, vector_scaling

__all__ = [
    "LDAM",
    "ActivePassive",
    "Asymmetric",
    "AsymmetricSingleLabel",
    "BalancedSoftmax",
    "BinaryFocal",
    "Bootstrapping",
    "ClassBalanced",
    "CrossEntropy",
    "DistributionBalanced",
    "Equalization",
    "Focal",
    "GeneralizedCrossEntropy",
    "InfluenceBalanced",
    "LabelAwareSmoothing",
    "LogitAdjusted",
    "LogitNorm",
    "MeanAbsolute",
    "MeanFalseError",
    "NormalizedCrossEntropy",
    "Poly1",
    "Seesaw",
    "SymmetricCrossEntropy",
    "VectorScaling",
    "active_passive",
    "asymmetric",
    "asymmetric_single_label",
    "balanced_softmax",
    "binary_focal",
    "bootstrapping",
    "class_balanced",
    "cross_entropy",
    "distribution_balanced",
    "equalization",
    "focal",
    "generalized_cross_entropy",
    "influence_balanced",
    "label_aware_smoothing",
    "ldam",
    "logit_adjusted",
    "logit_norm",
    "mean_absolute",
    "mean_false_error",
    "normalized_cross_entropy",
    "poly1",
    "seesaw",
    "symmetric_cross_entropy",
    "vector_scaling",
]
