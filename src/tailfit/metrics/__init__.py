"""Metrics that a common class can't dominate: `keras.metrics.Metric` classes, streamed and exact.

All take integer or one-hot labels beside scores, and sample weights; none needs the number of classes. Those that
count calls take logits and probabilities alike; those of the scores themselves are told `from_logits`.
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
