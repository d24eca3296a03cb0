"""Metrics that a common class can't dominate: `keras.metrics.Metric` classes, streamed and exact.

All take integer or one-hot labels beside scores (logits or probabilities), and sample weights; none needs
the number of classes.
"""

from tailfit.metrics.f1 import MacroF1
from tailfit.metrics.recall import BalancedAccuracy, GeometricMean, PerClassRecall

__all__ = ["BalancedAccuracy", "GeometricMean", "MacroF1", "PerClassRecall"]
