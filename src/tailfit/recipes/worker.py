"""The program of a worker process of `compare`, `python -m tailfit.recipes.worker`; see `side_by_side.py`."""

import sys
import warnings
from collections.abc import Mapping
from typing import Any

import numpy as np

from tailfit.memory import keep_memory
from tailfit.processes.messages import Message, describe_error
from tailfit.processes.parent import Parent
from tailfit.resume.signals import exit_on_sigterm

__all__ = ["main"]


def main() -> int:
    """Train the runs that standard input names, and return the exit code."""
    keep_memory()
    parent = Parent()
    settings = parent.receive()
    if settings is None:
        print("tailfit: this program is started by tailfit compare --jobs", file=sys.stderr)
        return 2

    def show_warning(message: Warning | str, category: type[Warning], *place: Any, **options: Any) -> None:
        parent.send({"warning": str(message), "category": category.__name__})

    warnings.showwarning = show_warning
    with exit_on_sigterm():
        _work(parent, settings)
    return 0


def _work(parent: Parent, settings: Message) -> None:
    try:
        # Imported here: Keras takes seconds, in which the pipe must already be read.
        from tailfit.recipes.runs import RunTrainer
        from tailfit.training.programs import keep_programs

        trainer = RunTrainer.of(settings)
    except Exception as error:
        parent.send({"failed": describe_error(error)})
        return

    def on_epoch(epoch: int, figures: Mapping[str, float]) -> None:
        parent.send({"epoch": epoch, "figures": {key: np.asarray(value).tolist() for key, value in figures.items()}})

    with keep_programs(settings["programs"]):
        parent.send({"ready": True})
        while (run := parent.receive()) is not None:
            try:
                trainer.train_described(run, on_epoch)
            except Exception as error:
                parent.send({"failed": describe_error(error)})
            else:
                parent.send({"done": True})


if __name__ == "__main__":
    sys.exit(main())
