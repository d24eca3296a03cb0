"""Post-hoc corrections of scores: fitted on validation data, applied in NumPy or appended to the model as a layer."""

from tailfit.posthoc.adjustment import LogitAdjustment, TauNorm
from tailfit.posthoc.calibration import TemperatureScaling, VectorScaling
from tailfit.posthoc.layers import AffineScores, ExpectedCost
from tailfit.posthoc.thresholds import Thresholds

__all__ = [
    "AffineScores",
    "ExpectedCost",
    "LogitAdjustment",
    "TauNorm",
    "TemperatureScaling",
    "Thresholds",
    "VectorScaling",
]
