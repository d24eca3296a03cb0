"""A thread that writes checkpoints, so that training does not wait for the disk."""

import queue
import threading
from collections.abc import Callable

__all__ = ["Background"]


class Background:
    """A thread that runs jobs in order; at most two are waiting or running at a time.

    Exceptions of jobs are collected until `failures` is called, so that the training thread can report them.
    """

    def __init__(self) -> None:
        self._jobs: queue.Queue[Callable[[], None] | None] = queue.Queue()
        self._pending = threading.Semaphore(2)
        self._failures: list[Exception] = []
        # Not a daemon thread: the interpreter waits for unfinished writes at exit.
        self._thread = threading.Thread(target=self._work, name="tailfit-resume")
        self._thread.start()

    def submit(self, job: Callable[[], None]) -> None:
        """Queue a job; wait while two are pending."""
        self._pending.acquire()
        self._jobs.put(job)

    def wait(self) -> None:
        """Wait until all jobs are done."""
        self._jobs.join()

    def close(self) -> None:
        """Wait until all jobs are done, and end the thread."""
        self._jobs.put(None)
        self._thread.join()

    def failures(self) -> list[Exception]:
        """Return the exceptions of jobs since the last call."""
        failures, self._failures = self._failures, []
        return failures

    def _work(self) -> None:
        while (job := self._jobs.get()) is not None:
            try:
                job()
            except Exception as error:
                self._failures.append(error)
            finally:
                del job  # releases its copy of the weights before the next job is accepted
                self._pending.release()
                self._jobs.task_done()
        self._jobs.task_done()
