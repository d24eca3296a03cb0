"""A run's whole state on disk, and back: `Resume`.

resume.py       the callback: when to save, what to restore, and where in the loop
variables.py    every variable that training changes
remembered.py   what callbacks keep
identity.py     what makes a run the run it is
store.py        the directory of checkpoints (its format is described there)
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tailfit.resume.resume import Resume
    from tailfit.resume.run import ResumeWarning

__all__ = ["Resume", "ResumeWarning"]

_HOME = {"Resume": "resume", "ResumeWarning": "run"}  # they need Keras; reading checkpoints does not


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(importlib.import_module(f"tailfit.resume.{_HOME[name]}"), name)
    raise AttributeError(f"module 'tailfit.resume' has no attribute {name!r}")
