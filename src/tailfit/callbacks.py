"""Callbacks for `tailfit.Model.fit`."""

from tailfit.resume import Resume, ResumeWarning
from tailfit.tracking import MLflow, TensorBoard
from tailfit.training.averaging import AverageWeights

__all__ = ["AverageWeights", "MLflow", "Resume", "ResumeWarning", "TensorBoard"]
