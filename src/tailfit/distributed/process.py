"""The program of a local worker, `python -m tailfit.distributed.process`; its launcher is `LocalWorkers`."""

import sys
import traceback
import warnings
from collections.abc import Mapping
from typing import Any

from tailfit.memory import keep_memory
from tailfit.processes.messages import Message, describe_error, exit_code
from tailfit.processes.parent import Parent
from tailfit.resume.signals import exit_on_sigterm

__all__ = ["main"]


def main() -> int:
    """Do the job that the launcher sends, and return the exit code."""
    keep_memory()
    launcher = Parent()
    job = launcher.receive()
    if job is None:
        print("tailfit: this program is started by `tailfit train --workers`", file=sys.stderr)
        return 2
    try:
        with exit_on_sigterm():
            _work(job, launcher)
    except KeyboardInterrupt:
        return 130
    except Exception as error:
        traceback.print_exc()  # to the log
        launcher.send({"error": describe_error(error)})
        return exit_code(error)
    return 0


def _work(job: Message, launcher: Parent) -> None:
    from tailfit.distributed.jobs import do_job  # imports Keras

    def on_epoch(epoch: int, figures: Mapping[str, float]) -> None:
        launcher.send({"epoch": epoch, "figures": {key: float(value) for key, value in figures.items()}})

    def show(message: Warning | str, category: type[Warning], filename: str, lineno: int, *_: Any, **__: Any) -> None:
        print(warnings.formatwarning(message, category, filename, lineno), end="", file=sys.stderr)
        if issubclass(category, UserWarning):
            launcher.send({"warning": str(message)})

    warnings.showwarning = show
    do_job(job, on_epoch)


if __name__ == "__main__":
    sys.exit(main())
