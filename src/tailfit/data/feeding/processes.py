"""Batches read and transformed in other processes, which arrive in their order and end with their reader.

Concepts:
- *order*: tasks are handed out and their results taken in one order; nothing depends on how many processes there are.
- *start*: always by `spawn`. A fork copies the locks of JAX' and TensorFlow's threads as they are at that moment, and
  may wait for ever on one.
- *end*: a process holds one end of a pipe whose other end is here. When that is closed, by `close` or as this process
  ends, however it does, it ends, too, even in the midst of a batch.
"""

import contextlib
import multiprocessing
import os
import pickle
import signal
import threading
from collections import deque
from collections.abc import Generator, Iterable, Iterator
from concurrent import futures
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing.connection import Connection, wait
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tailfit.data.feeding.read_ahead import PATIENCE
from tailfit.data.feeding.transforming import Transform
from tailfit.data.source import Source
from tailfit.errors import ArgumentError, StepError

__all__ = ["Processes", "Task"]


_GRACE = 1.0  # seconds


class Task(NamedTuple):
    """A batch to be made.

    Attributes:
        epoch, step: Its place in the run.
        indices: Its samples.
        records: If they were read already; None: a process reads them.
        rest: What follows the records in the batch.
    """

    epoch: int
    step: int
    indices: NDArray[np.int64]
    records: Any
    rest: tuple[Any, ...]


class Processes:
    """A pool that makes batches.

    Args:
        number: Of processes, >= 1.
        source: What they read from; None: tasks bring their records.
        transform: What they change batches with; None: nothing.
    Raises:
        ArgumentError: for what can't be sent to another process.
    """

    def __init__(self, number: int, source: Source | None, transform: Transform | None) -> None:
        self.number = number
        try:
            self._job = pickle.dumps((source, transform))
        except Exception as error:
            raise ArgumentError(
                f"processes={number} with a source or transform that can't be sent to them ({error})",
                expected="what pickle takes: functions and classes from the top level of a module",
                fix="define the transform with `def` in a module, or use processes=0",
            ) from error
        self._pool: ProcessPoolExecutor | None = None
        self._keep: Connection | None = None

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_pool": None, "_keep": None}

    def make(self, tasks: Iterable[Task], ahead: int) -> Generator[tuple[Any, ...]]:
        """The batches in the order of their tasks, some of them made before they are asked for.

        An error in a process arrives in the place of its batch, with the traceback that it had there.

        Args:
            tasks: What to make.
            ahead: Batches that may wait here, beside one in each process.
        Raises:
            StepError: if a process ended by itself.
        """
        waiting: deque[Future[tuple[Any, ...]]] = deque()
        try:
            for task in tasks:
                waiting.append(self._submit(task))
                if len(waiting) > self.number + ahead:
                    yield _first_of(waiting)
            while waiting:
                yield _first_of(waiting)
        except BrokenProcessPool as error:
            self.close()
            raise StepError(
                f"processes={self.number}, one of which has ended",
                expected="processes that live as long as they are asked for batches",
                fix="look for its message above: it may have been out of memory; and a script that uses processes "
                'begins its work under `if __name__ == "__main__":`',
            ) from error
        finally:
            # Batches that nobody waits for any more must not keep the next loop, or Ctrl-C, waiting; but to end the
            # processes for a few that are nearly done would cost more than those do.
            begun = [future for future in waiting if not future.cancel()]
            if futures.wait(begun, timeout=_GRACE).not_done:
                self.close()

    def close(self) -> None:
        """End the processes; the next batch starts others."""
        pool, keep, self._pool, self._keep = self._pool, self._keep, None, None
        if keep is not None:
            keep.close()
        if pool is not None:
            pool.shutdown(wait=True, cancel_futures=True)

    def _submit(self, task: Task) -> "Future[tuple[Any, ...]]":
        if self._pool is None:
            context = multiprocessing.get_context("spawn")
            theirs, self._keep = context.Pipe(duplex=False)
            self._pool = ProcessPoolExecutor(self.number, context, _begin, (self._job, theirs))
        with _uninterrupted():
            return self._pool.submit(_make, task)


@contextlib.contextmanager
def _uninterrupted() -> Iterator[None]:
    """Around the start of processes, which take over the signals that are blocked: Ctrl-C is for their reader."""
    if not hasattr(signal, "pthread_sigmask"):  # Windows
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _first_of(waiting: "deque[Future[tuple[Any, ...]]]") -> tuple[Any, ...]:
    while futures.wait([waiting[0]], timeout=PATIENCE).not_done:
        pass
    batch = waiting[0].result()
    waiting.popleft()  # only now: one that an interrupt came in between is still to be ended
    return batch


_source: Source | None = None
_transform: Transform | None = None
_unfit: Exception | None = None


def _begin(job: bytes, keep: Connection) -> None:
    """In a process: what it needs for all batches."""
    global _source, _transform, _unfit
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # for Windows, which has no signals to block
    threading.Thread(target=_end_with, args=(keep,), daemon=True).start()
    try:
        _source, _transform = pickle.loads(job)
    except Exception as error:  # it should reach the reader, not end in a broken pool
        _unfit = error


def _end_with(keep: Connection) -> None:
    wait([keep])  # nothing is ever sent: it is ready when the other end is closed
    os._exit(0)


def _make(task: Task) -> tuple[Any, ...]:
    if _unfit is not None:
        raise _unfit
    records = task.records if _source is None else _source._read(task.indices)
    batch = (records, *task.rest)
    return batch if _transform is None else _transform(batch, task.epoch, task.step)
