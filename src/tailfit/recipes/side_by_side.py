"""Runs of a comparison, trained side by side in worker processes of this interpreter.

Concepts:
- *worker*: a process that imports tailfit and opens the data once, and then trains one run after another.
- *results*: files in the directories of the runs, as if each had been trained alone. Only progress, warnings and errors
  go through pipes.
- *failures*: an error in one run does not stop the others; it is raised when they have ended. A worker that dies is
  replaced, and its run continues from its newest checkpoint.
- *threads*: each worker uses as many threads as a training alone. With fewer threads, all backends add up numbers in a
  different order, so that dividing the cores among workers would change the last bits of the results.
- *end*: Ctrl-C and SIGTERM let all workers save checkpoints. If this process is killed, its workers end, too.
"""

import queue
import tempfile
import warnings
from collections import Counter, deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, Final

import keras

from tailfit.data import DataWarning
from tailfit.errors import TailfitError, WorkerError
from tailfit.evaluation import ReportWarning
from tailfit.processes.child import Child, Events, child_environment, python_command
from tailfit.processes.messages import Message, error_of
from tailfit.recipes.runs import Progress, RunOfComparison

__all__ = ["Failure", "Workers", "raise_failures"]

_MOST_TRIES: Final = 3
_SHOWN: Final = 4000  # characters of a dead worker's output in the note of the error
_CATEGORIES: Final[Mapping[str, type[Warning]]] = {
    each.__name__: each for each in (DataWarning, ReportWarning, DeprecationWarning, FutureWarning, RuntimeWarning)
}
# Two processes that each reserve most of a GPU's memory would fail. Threads that wait for work must not keep the
# processor from other workers.
_ENVIRONMENT: Final = {
    "OMP_WAIT_POLICY": "passive",
    "TF_FORCE_GPU_ALLOW_GROWTH": "true",
    "XLA_PYTHON_CLIENT_PREALLOCATE": "false",
}
Failure = tuple[RunOfComparison, TailfitError]


@dataclass(eq=False)
class Workers:
    """Worker processes that train runs.

    Attributes:
        count: Largest number of workers, >= 1.
        settings: What all runs share; see `settings_of`.
        programs: Folder of compiled programs, or None.
        inherited: File descriptors that workers inherit: the lock of the comparison's directory, so that no other
            process starts there while a worker is running.
        progress: Function called with remedy, seed, epoch and metrics after each epoch.
        ended: Function called with each run that has ended well.
    """

    count: int
    settings: Mapping[str, Any]
    programs: Path | None
    inherited: Sequence[int]
    progress: Progress | None
    ended: Callable[[RunOfComparison], None]
    _events: Events = field(default_factory=queue.Queue)
    _runs: dict[Child, RunOfComparison | None] = field(default_factory=dict)  # of each worker that has not ended
    _outputs: dict[Child, IO[bytes]] = field(default_factory=dict)
    _warned: set[str] = field(default_factory=set)

    def train(self, runs: Sequence[RunOfComparison]) -> list[Failure]:
        """Train all runs, and return those that failed, each with its error.

        Raises:
            TailfitError: If workers can't start.
        """
        waiting, tries, failed = deque(runs), Counter[RunOfComparison | None](), list[Failure]()
        try:
            for _ in range(min(self.count, len(runs))):
                self._start()
            while self._runs:
                try:
                    child, message = self._events.get(timeout=1.0)
                except queue.Empty:
                    continue
                if message is None:
                    self._replace(child, waiting, tries, failed)
                elif not self._handled(child, message, failed):
                    self._give_next(child, waiting)
        except BaseException:
            for child in self._runs:
                child.terminate()
            for child in self._runs:
                child.wait()  # for its checkpoint; a second signal interrupts this
            raise
        finally:
            for child in self._outputs:
                child.kill()
                self._outputs[child].close()
        return sorted(failed, key=lambda failure: runs.index(failure[0]))

    def _start(self) -> None:
        output = tempfile.TemporaryFile()  # noqa: SIM115  # closed with the worker
        environment = {**_ENVIRONMENT, **child_environment({"KERAS_BACKEND": keras.backend.backend()})}
        child = Child(python_command("tailfit.recipes.worker"), environment, output, self._events, self.inherited)
        self._runs[child], self._outputs[child] = None, output
        child.send({**self.settings, "programs": None if self.programs is None else str(self.programs)})

    def _handled(self, child: Child, message: Message, failed: list[Failure]) -> bool:
        """Handle a message, and return whether the worker is still at work."""
        run = self._runs.get(child)
        if "warning" in message:
            self._warn(message["warning"], message["category"])
        elif "epoch" in message and run is not None and self.progress is not None:
            self.progress(run.remedy, run.seed, message["epoch"], message["figures"])
        elif "failed" in message:
            if run is None:
                raise error_of(message["failed"], "a worker process that starts")
            failed.append((run, error_of(message["failed"], "the training")))
        elif "done" in message and run is not None:
            self.ended(run)
        return not message.keys() & {"ready", "failed", "done"}

    def _give_next(self, child: Child, waiting: deque[RunOfComparison]) -> None:
        if waiting:
            run = self._runs[child] = waiting.popleft()
            child.send(run.described())
        else:
            del self._runs[child]
            child.kill()

    def _replace(
        self,
        child: Child,
        waiting: deque[RunOfComparison],
        tries: Counter[RunOfComparison | None],
        failed: list[Failure],
    ) -> None:
        """Start a new worker for one that has died, which tries its run again."""
        if child not in self._runs:
            return  # ended by `_give_next`
        run = self._runs.pop(child)
        tries[run] += 1
        if tries[run] < _MOST_TRIES:
            if run is not None:
                waiting.appendleft(run)
        else:
            error = WorkerError(
                f"a worker process that {child.end}, for the {tries[run]}rd time",
                expected="workers that run to the end",
                fix="use fewer jobs if memory is short; the same command continues from the newest checkpoints",
            )
            error.add_note(self._output_of(child))
            if run is None:
                raise error
            failed.append((run, error))
        if waiting:
            self._start()

    def _output_of(self, child: Child) -> str:
        output = self._outputs[child]
        output.seek(max(0, output.seek(0, 2) - _SHOWN))
        return output.read().decode(errors="replace").strip()

    def _warn(self, text: str, category: str) -> None:
        if text not in self._warned:  # each worker warns of the data, for example
            self._warned.add(text)
            warnings.warn(text, _CATEGORIES.get(category, UserWarning), stacklevel=2)


def raise_failures(failed: Sequence[Failure], count: int) -> None:
    """Raise the first error, with the name of its run and the names of the others that failed.

    Args:
        failed: The failed runs in order.
        count: Number of all runs.
    """
    if not failed:
        return
    (run, error), others = failed[0], [str(each) for each, _ in failed[1:]]
    more = f" (also failed: {'; '.join(others[:5])}{'; ...' * (len(others) > 5)})" if others else ""
    ended = count - len(failed)
    kept = "; the other run is kept" if ended == 1 else f"; the other {ended} runs are kept" if ended else ""
    named = type(error)(f"{run}: {error.received}{more}", expected=error.expected, fix=error.fix + kept)
    for note in getattr(error, "__notes__", []):
        named.add_note(note)
    raise named
