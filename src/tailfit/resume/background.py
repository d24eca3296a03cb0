"""Writing in a thread, so that training does not wait for the disk."""

import queue
import threading
from collections.abc import Callable

__all__ = ["Background"]


class Background:
    """Does jobs one after the other in a thread of its own; at most two wait or run at a time.

    What goes wrong is kept until `failures` is asked for: it has to reach the user from the thread that trains.
    """

    def __init__(self) -> None:
        self._jobs: queue.Queue[Callable[[], None] | None] = queue.Queue()
        self._room = threading.Semaphore(2)
        self._failures: list[Exception] = []
        # No daemon: an interpreter that ends waits for what is being written.
        self._thread = threading.Thread(target=self._work, name="tailfit-resume")
        self._thread.start()

    def submit(self, job: Callable[[], None]) -> None:
        """Have a job done; waits while two are."""
        self._room.acquire()
        self._jobs.put(job)

    def wait(self) -> None:
        """Until all is done."""
        self._jobs.join()

    def close(self) -> None:
        """Wait, and end the thread."""
        self._jobs.put(None)
        self._thread.join()

    def failures(self) -> list[Exception]:
        """What went wrong since this was asked last."""
        failures, self._failures = self._failures, []
        return failures

    def _work(self) -> None:
        while (job := self._jobs.get()) is not None:
            try:
                job()
            except Exception as error:
                self._failures.append(error)
            finally:
                del job  # it holds a copy of the weights
                self._room.release()
                self._jobs.task_done()
        self._jobs.task_done()
