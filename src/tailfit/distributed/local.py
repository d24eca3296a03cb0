"""Several worker processes on this machine: started, watched, ended together, and started again when one is lost.

Each worker is a `Child` of `tailfit.processes`: no worker outlives its launcher. It gets a job as its first message,
and sends, one JSON object each:

    {"epoch": 3, "figures": {"loss": 0.5}}      rank 0, after each epoch
    {"warning": "..."}                          rank 0
    {"error": {"class": "DataError", ...}}      any rank, as its last message

On Ctrl-C and SIGTERM the launcher asks rank 0 to stop, which saves a checkpoint at the end of its step, and then ends
the others. A worker that ends by a signal or without a message was lost (killed, out of memory, a crash in native
code): the others are ended, and all start again. Any other failure is an error of the run, which would fail in the same
way again.

Each worker uses as many threads as a training in one process: the last bits depend on their number, on every backend.
"""

import queue
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from tailfit.distributed.ports import LOOPBACK, free_port
from tailfit.errors import WorkerError
from tailfit.processes.child import Child, Events, child_environment, python_command
from tailfit.processes.messages import Message, error_of
from tailfit.storage.reading import check_replaceable

__all__ = ["LocalWorkers"]

_START_SECONDS: Final = 600  # for all workers to start: that one has ended is seen here, at once
_COMMAND: Final = python_command("tailfit.distributed.process")


def _ignore(message: Any) -> None:
    pass


@dataclass(eq=False)
class _Worker:
    rank: int
    child: Child
    error: Message | None = None  # its last message, if it failed

    @property
    def lost(self) -> bool:
        """Whether it ended by a signal or without a message."""
        return bool(self.child.status) and not self.child.killed and self.error is None

    @property
    def missed_others(self) -> bool:
        """Whether it failed because another worker was missing, whose own error is more informative."""
        return self.error is not None and self.error["class"] == WorkerError.__name__


@dataclass(frozen=True)
class LocalWorkers:
    """The workers of one run on this machine.

    Attributes:
        job: What each worker gets, as JSON.
        count: Number of workers.
        logs: Folder of the logs, created when the workers start.
        restarts: How many times all workers are started again after one was lost.
        environment: Further environment variables of the workers.
        on_message: Function called with each message of rank 0.
        on_restart: Function called with what happened, before all workers start again.
        grace: Seconds for the others to report their errors after a worker has failed.
        command: Command of a worker.
    """

    job: Any
    count: int
    logs: Path
    restarts: int = 3
    environment: Mapping[str, str] = field(default_factory=dict)
    on_message: Callable[[Message], None] = _ignore
    on_restart: Callable[[str], None] = _ignore
    grace: float = 5.0
    command: Sequence[str] = tuple(_COMMAND)

    def run(self) -> list[str]:
        """Start the workers, and wait until they have finished.

        Returns:
            What happened to lost workers, one text per restart.
        Raises:
            WorkerError: If workers were lost more often than `restarts`.
            TailfitError: The error that a worker has reported; that of the lowest rank if several have.
        """
        restarted: list[str] = []
        while True:
            workers = self._attempt(len(restarted))
            failed = sorted((each for each in workers if each.error is not None), key=lambda each: each.missed_others)
            lost = next((each for each in workers if each.lost), None)
            if failed and (lost is None or not failed[0].missed_others):
                rank = failed[0].rank
                raise error_of(failed[0].error or {}, f"worker {rank}", f"see {self._log(rank)}")
            if lost is None:
                return restarted
            what = f"worker {lost.rank}, {lost.child.end}"
            if len(restarted) == self.restarts:
                raise WorkerError(
                    f"{what}, after {len(restarted)} restart{'s' * (len(restarted) != 1)}",
                    expected="workers that run to the end",
                    fix=f"see {self._log(lost.rank)}; the same command continues from the newest checkpoint",
                )
            restarted.append(what)
            self.on_restart(what)

    def _attempt(self, number: int) -> list[_Worker]:
        """Run all workers once, until all have ended."""
        self.logs.mkdir(parents=True, exist_ok=True)
        port, workers = free_port(), list[_Worker]()
        events: Events = queue.Queue()
        try:
            for rank in range(self.count):
                workers.append(_Worker(rank, self._start(rank, port, number, events)))
            self._wait(workers, events)
        except (KeyboardInterrupt, SystemExit):
            if workers:
                workers[0].child.terminate()
                workers[0].child.wait()  # until it has saved a checkpoint; a second signal interrupts this
            raise
        finally:
            for worker in workers:
                worker.child.kill()
        return workers

    def _start(self, rank: int, port: int, attempt: int, events: Events) -> Child:
        own = {"RANK": rank, "WORLD_SIZE": self.count, "LOCAL_RANK": rank, "MASTER_ADDR": LOOPBACK, "MASTER_PORT": port}
        own["TAILFIT_JOIN_SECONDS"] = _START_SECONDS
        given = {name: str(value) for name, value in {**self.environment, **own}.items()}
        check_replaceable(self._log(rank))
        with open(self._log(rank), "ab") as log:
            again = f", restart {attempt}" if attempt else ""
            first_line = f"== {time.strftime('%Y-%m-%d %H:%M:%S')} worker {rank} of {self.count}{again}\n"
            log.write(first_line.encode())
            log.flush()
            child = Child(self.command, child_environment(given), log, events)
        child.send(self.job)
        return child

    def _log(self, rank: int) -> Path:
        return self.logs / f"{rank}.log"

    def _wait(self, workers: Sequence[_Worker], events: Events) -> None:
        """Handle messages until all workers have ended; after a failure, end the others."""
        by_child = {id(worker.child): worker for worker in workers}
        running, deadline = len(workers), float("inf")
        while running:
            if time.monotonic() > deadline:
                for worker in workers:
                    worker.child.kill()
            try:
                child, message = events.get(timeout=0.1)
            except queue.Empty:
                continue
            worker = by_child[id(child)]
            if message is None:
                running -= 1
                if child.status:
                    deadline = min(deadline, time.monotonic() + self.grace)
            elif "error" in message:
                worker.error = message["error"]
            elif worker.rank == 0:
                self.on_message(message)
