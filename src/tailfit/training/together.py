"""Work that each worker does on its own, however long it takes, and that must succeed on all before any goes on."""

import threading
from collections.abc import Callable
from typing import Any, Final, TypeVar

from tailfit.processes.messages import describe_error, error_of
from tailfit.training.workers import Exchange, exchange
from tailfit.workers import place

__all__ = ["together"]

T = TypeVar("T")
_INTERVAL: Final = 0.2  # seconds between two messages of a busy worker


def together(do: Callable[[], T]) -> T:
    """Call a function on each worker; if it fails on some, raise the error of the first of these on all.

    Returns:
        The result of this worker's call.
    Raises:
        Exception: What `do` raised here or on another worker. It has an attribute `worker`: the rank where it was
            raised.
    """
    if place().world == 1:
        return do()
    error, result = None, None
    heartbeat = _Heartbeat()
    try:
        result = do()
    except Exception as raised:
        error = raised
    statuses = heartbeat.end(error)
    failed = next((rank for rank, status in enumerate(statuses) if "error" in status), None)
    if failed is None:
        return result  # type: ignore[return-value]
    if error is None or failed != place().rank:
        error = error_of(statuses[failed]["error"], f"worker {failed}")
    error.worker = failed  # type: ignore[attr-defined]
    raise error


class _Heartbeat:
    """A thread that tells the other workers that this one is busy, however long it takes, until it has ended.

    Without it, a worker that waits for another one, which downloads data for minutes, would consider it lost.
    """

    def __init__(self) -> None:
        self._status: dict[str, Any] = {"busy": True}
        self._statuses: list[dict[str, Any]] = []  # of all workers, by rank
        self._lost: BaseException | None = None
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, args=(exchange(),), daemon=True)
        self._thread.start()

    def end(self, error: Exception | None) -> list[dict[str, Any]]:
        """Wait until all workers have ended, or one has failed; return their statuses, by rank."""
        self._status = {} if error is None else {"error": describe_error(error)}
        self._ended.set()
        self._thread.join()
        if self._lost is not None:
            raise self._lost
        return self._statuses

    def _run(self, workers: Exchange) -> None:
        try:
            while True:
                self._statuses = workers.documents(self._status)
                failed = any("error" in status for status in self._statuses)
                if failed or not any("busy" in status for status in self._statuses):
                    return
                self._ended.wait(_INTERVAL)
        except BaseException as error:
            self._lost = error
