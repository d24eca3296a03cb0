"""Callbacks for `tailfit.Model.fit`."""

from tailfit.resume import Resume, ResumeWarning
from tailfit.tracking import MLflow, TensorBoard

__all__ = ["MLflow", "Resume", "ResumeWarning", "TensorBoard"]
