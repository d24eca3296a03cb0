"""A run's whole state on disk, and back: `Resume`.

resume.py       the callback: when to save, what to restore, and where in the loop
variables.py    every variable that training changes
remembered.py   what callbacks keep
identity.py     what makes a run the run it is
store.py        the directory of checkpoints (its format is described there)
"""

from typing import TYPE_CHECKING

from tailfit.lazy import lazy_attributes

if TYPE_CHECKING:
    from tailfit.resume.resume import Resume
    from tailfit.resume.run import ResumeWarning

__all__ = ["Resume", "ResumeWarning"]

# Both need Keras; reading checkpoints does not.
__getattr__, __dir__ = lazy_attributes(
    __name__, {"Resume": "tailfit.resume.resume", "ResumeWarning": "tailfit.resume.run"}
)
