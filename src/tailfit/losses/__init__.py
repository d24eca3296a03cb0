"""Losses for long-tailed classification: `keras.losses.Loss` classes and functions of their per-sample values.

All losses compute in log space, and require `from_logits`, which has no default.

Shapes:
- Losses for exclusive classes take class indices `(batch, ...)` or `(batch, ..., 1)`, or one-hot or soft labels
  `(batch, ..., C)`. A class index outside [0, C) gives NaN, unless its sample weight is 0.
- Multi-label losses take labels in [0, 1] `(batch, ..., C)`, or class indices if each sample has one label; C = 1 for a
  binary problem. The loss of a sample is the sum over its labels.
- `y_pred` is `(batch, ..., C)`, and the per-sample loss `(batch, ...)`.
"""

from tailfit.losses.active_passive_loss import (
    ActivePassive,
    NormalizedCrossEntropy,
    active_passive,
    normalized_cross_entropy,
)
from tailfit.losses.asymmetric_loss import Asymmetric, AsymmetricSingleLabel, asymmetric, asymmetric_single_label
from tailfit.losses.binary_focal_loss import BinaryFocal, binary_focal
from tailfit.losses.bootstrapping_loss import Bootstrapping, bootstrapping
from tailfit.losses.class_balanced_loss import ClassBalanced, class_balanced
from tailfit.losses.cross_entropy_loss import CrossEntropy, cross_entropy
from tailfit.losses.distribution_balanced_loss import DistributionBalanced, distribution_balanced
from tailfit.losses.equalization_loss import Equalization, equalization
from tailfit.losses.focal_loss import Focal, focal
from tailfit.losses.generalized_loss import (
    GeneralizedCrossEntropy,
    MeanAbsolute,
    generalized_cross_entropy,
    mean_absolute,
)
from tailfit.losses.influence_balanced_loss import InfluenceBalanced, influence_balanced
from tailfit.losses.label_aware_loss import LabelAwareSmoothing, label_aware_smoothing
from tailfit.losses.ldam_loss import LDAM, ldam
from tailfit.losses.logit_adjusted_loss import BalancedSoftmax, LogitAdjusted, balanced_softmax, logit_adjusted
from tailfit.losses.logit_norm_loss import LogitNorm, logit_norm
from tailfit.losses.mean_false_error_loss import MeanFalseError, mean_false_error
from tailfit.losses.poly_loss import Poly1, poly1
from tailfit.losses.seesaw_loss import Seesaw, seesaw
from tailfit.losses.symmetric_loss import SymmetricCrossEntropy, symmetric_cross_entropy
from tailfit.losses.vector_scaling_loss import VectorScaling, vector_scaling

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
