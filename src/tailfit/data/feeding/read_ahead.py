"""Reading of the next batches in a thread while the current one is used."""

import sys
import threading
from collections.abc import Generator, Iterator
from queue import Empty, SimpleQueue
from typing import TypeVar

__all__ = ["WAIT_TIMEOUT", "read_ahead"]

_T = TypeVar("_T")
_NAME = "tailfit-reader"
# Seconds of a single wait. polars installs a SIGINT handler with SA_RESTART (its issue 21739), so that Ctrl-C does not
# interrupt a wait without a timeout.
WAIT_TIMEOUT = 0.1


def read_ahead(items: Iterator[_T], ahead: int) -> Generator[_T]:
    """Yield the items in order, with up to `ahead` of them read in advance by a thread.

    The thread starts with the first `next` and stops with the generator: when it is exhausted, closed or collected, or
    on an exception on either side. An error in `items` is raised after the items before it.

    >>> list(read_ahead(iter([10, 20, 30]), ahead=2))
    [10, 20, 30]
    """
    if ahead == 0:
        yield from items
        return
    # A single thread reads all batches and runs the user's transform, so that they run in order and never concurrently.
    ready: SimpleQueue[tuple[bool, _T | BaseException]] = SimpleQueue()
    free_slots, stopped = threading.Semaphore(ahead), threading.Event()

    def work() -> None:
        try:
            while True:
                free_slots.acquire()
                if stopped.is_set():
                    return
                ready.put((True, next(items)))
        except BaseException as error:  # including StopIteration, which also ends the consumer
            ready.put((False, error))

    thread = threading.Thread(target=work, name=_NAME, daemon=True)
    thread.start()
    # Locals, because at exit the interpreter clears module names and stops threads before it closes generators.
    this_thread, is_finalizing, timeout = threading.current_thread, sys.is_finalizing, WAIT_TIMEOUT
    try:
        while True:
            try:
                is_item, item = ready.get(timeout=timeout)
            except Empty:
                continue
            free_slots.release()
            if is_item:
                yield item  # type: ignore[misc]
            elif isinstance(item, StopIteration):
                return
            else:
                raise item  # type: ignore[misc]
    finally:
        stopped.set()
        free_slots.release()
        # The garbage collector may run this in the reader thread itself, which can't join itself.
        while not is_finalizing() and thread is not this_thread() and thread.is_alive():
            thread.join(timeout)
