"""Callbacks for `tailfit.Model.fit`."""

from tailfit.resume import Resume, ResumeWarning

__all__ = ["Resume", "ResumeWarning"]
