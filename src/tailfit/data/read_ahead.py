"""Reading the next batches while the current one is used, in one thread that ends with its reader."""

import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

__all__ = ["read_ahead"]

_T = TypeVar("_T")
_NAME = "tailfit-reader"


def read_ahead(read: Callable[[int], _T], steps: Iterable[int], ahead: int) -> Generator[_T]:
    """`read(step)` for each step in order, up to `ahead` of them read before they are asked for.

    The thread starts with the first `next` and ends when the generator does: exhausted, closed, collected, or by
    an exception on either side. An error in `read` arrives at its own step, after the steps before it.

    >>> list(read_ahead(lambda step: step * 10, range(3), ahead=2))
    [0, 10, 20]
    """
    if ahead == 0:
        for step in steps:
            yield read(step)
        return
    # One worker: batches are read in order, and a user's transform never runs twice at a time.
    pool = ThreadPoolExecutor(max_workers=1, thread_name_prefix=_NAME)
    waiting: deque[Future[_T]] = deque()
    try:
        for step in steps:
            waiting.append(pool.submit(read, step))
            if len(waiting) > ahead:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        # The garbage collector may run this in the reader's own thread, which can't wait for itself.
        own = threading.current_thread().name.startswith(_NAME)
        pool.shutdown(wait=not own, cancel_futures=True)
