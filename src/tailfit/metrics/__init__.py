"""Metrics that frequent classes cannot dominate: `keras.metrics.Metric` classes, updated by batch and exact.

All accept integer or one-hot labels and sample weights; none needs the number of classes in advance. Metrics of the
predicted classes accept logits and probabilities alike; metrics of the scores themselves require `from_logits`.
"""

from tailfit.metrics.agreement import CohenKappa, MatthewsCorrelation
from tailfit.metrics.calibration import CalibrationError
from tailfit.metrics.f1 import MacroF1
from tailfit.metrics.groups import GroupRecall, WorstClassRecall
from tailfit.metrics.ranking import AveragePrecision, RocAuc
from tailfit.metrics.recall import BalancedAccuracy, GeometricMean, PerClassRecall

__all__ = [
    "AveragePrecision",
    "BalancedAccuracy",
    "CalibrationError",
    "CohenKappa",
    "GeometricMean",
    "GroupRecall",
    "MacroF1",
    "MatthewsCorrelation",
    "PerClassRecall",
    "RocAuc",
    "WorstClassRecall",
]
