"""Corrections after training: fitted on validation scores, applied in NumPy, or carried by the model as a layer."""

from tailfit.posthoc.adjustment import LogitAdjustment
from tailfit.posthoc.layers import AffineScores, ExpectedCost

__all__ = ["AffineScores", "ExpectedCost", "LogitAdjustment"]
