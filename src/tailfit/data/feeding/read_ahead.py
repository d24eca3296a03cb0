"""Reading the next batches while the current one is used, in one thread that ends with its reader."""

import sys
import threading
from collections.abc import Generator, Iterator
from queue import Empty, SimpleQueue
from typing import TypeVar

__all__ = ["PATIENCE", "read_ahead"]

_T = TypeVar("_T")
_NAME = "tailfit-reader"
# Seconds that is waited at a time. Polars installs a handler of Ctrl-C that has the system resume what it interrupts
# (its issue 21739): a wait without an end would not see it.
PATIENCE = 0.1


def read_ahead(items: Iterator[_T], ahead: int) -> Generator[_T]:
    """The same items in order, up to `ahead` of them read before they are asked for.

    The thread starts with the first `next` and ends when the generator does: exhausted, closed, collected, or by
    an exception on either side. An error in `items` arrives in its own place, after the items before it.

    >>> list(read_ahead(iter([10, 20, 30]), ahead=2))
    [10, 20, 30]
    """
    if ahead == 0:
        yield from items
        return
    # A batch is read, and a user's transform run, by one thread: in order, and never twice at a time.
    ready: SimpleQueue[tuple[bool, _T | BaseException]] = SimpleQueue()
    room, over = threading.Semaphore(ahead), threading.Event()

    def work() -> None:
        try:
            while True:
                room.acquire()
                if over.is_set():
                    return
                ready.put((True, next(items)))
        except BaseException as error:  # StopIteration ends the reader as it ends the items
            ready.put((False, error))

    thread = threading.Thread(target=work, name=_NAME, daemon=True)
    thread.start()
    # An interpreter that ends takes the modules' names away, and its threads run no more, before it drops generators.
    this_thread, ends, patience = threading.current_thread, sys.is_finalizing, PATIENCE
    try:
        while True:
            try:
                good, item = ready.get(timeout=PATIENCE)
            except Empty:
                continue
            room.release()
            if good:
                yield item  # type: ignore[misc]
            elif isinstance(item, StopIteration):
                return
            else:
                raise item  # type: ignore[misc]
    finally:
        over.set()
        room.release()
        # The garbage collector may run this in the reader's own thread, which can't wait for itself.
        while not ends() and thread is not this_thread() and thread.is_alive():
            thread.join(patience)
