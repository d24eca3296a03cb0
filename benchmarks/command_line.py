"""The command of a benchmark, as its results show it."""

import re
import shlex
import sys

__all__ = ["command_line"]


def command_line(name: str) -> str:
    """Return the command that runs now, with PATH for absolute paths, which are those of one machine.

    Args:
        name: The benchmark, such as `compare` or `steps/job.py`.
    """
    words = (re.sub("(^|=)/.*", r"\1PATH", word) for word in sys.argv[1:])
    return shlex.join(["python", f"benchmarks/{name}", *words])
