"""Saving the complete state of a training run, and continuing the run exactly: `Resume`.

resume.py           the callback
run.py              when to save, what to restore, and where the loop continues
variables.py        all variables that training changes
remembered.py       the state of callbacks; callback_state.py checks it
identity.py         the configuration that must not change
saved.py            decoding and checking of a whole checkpoint
store.py            the directory of checkpoints (with a description of the format)
"""

from typing import TYPE_CHECKING

from tailfit.lazy import lazy_attributes

if TYPE_CHECKING:
    from tailfit.resume.resume import Resume
    from tailfit.resume.run import ResumeWarning

__all__ = ["Resume", "ResumeWarning"]

# Imported on first use: both need Keras, but reading checkpoints does not.
__getattr__, __dir__ = lazy_attributes(
    __name__, {"Resume": "tailfit.resume.resume", "ResumeWarning": "tailfit.resume.run"}
)
