"""The same training on several processes and machines: `train` a recipe, or be a `worker` in a script of your own.

environment.py    who this process is: the contract with every launcher
joining.py        the context in which this process is one of several
training.py       `train`: a recipe on several workers
local.py          workers on this machine, started and watched; process.py is their program, jobs.py what they do
meeting.py        the meeting of all workers before they are connected; ports.py ports and listeners

Names are imported on first use, because a process must join the others before its backend is used.
"""

from typing import TYPE_CHECKING

from tailfit.lazy import lazy_attributes

if TYPE_CHECKING:
    from tailfit.distributed.joining import worker
    from tailfit.distributed.training import RestartWarning, train

__all__ = ["RestartWarning", "train", "worker"]

__getattr__, __dir__ = lazy_attributes(
    __name__,
    {
        "RestartWarning": "tailfit.distributed.training",
        "train": "tailfit.distributed.training",
        "worker": "tailfit.distributed.joining",
    },
)
