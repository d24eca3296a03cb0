"""Batches read and transformed in worker processes, returned in order.

Concepts:
- *order*: tasks are submitted and their results returned in one order, so nothing depends on the number of workers.
- *start*: always by `spawn`. A fork would copy locks held by threads of JAX or TensorFlow, and could deadlock on them.
- *end*: each worker has one end of a pipe whose other end is in this process. When this process closes it, by `close`
  or because it ends in any way, the worker exits, even during a batch.
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

from tailfit.data.feeding.fields import Fields, with_fields
from tailfit.data.feeding.read_ahead import WAIT_TIMEOUT
from tailfit.data.feeding.transforming import Transform
from tailfit.data.source import Source
from tailfit.errors import ArgumentError, StepError

__all__ = ["Processes", "Task"]


_GRACE = 1.0  # seconds that unfinished batches may take before the workers are stopped


class Task(NamedTuple):
    """A batch to be made by a worker.

    Attributes:
        epoch, step: Position of the batch in the run.
        shard: The part of the batch that it is, for the random numbers of the transform.
        indices: Positions of its samples in the source.
        records: Records if already read; None if the worker reads them.
        rest: The parts of the batch after the records: labels and weights.
        fields: Values of its samples that the batch carries; see `fields.py`.
    """

    epoch: int
    step: int
    shard: tuple[int, int]
    indices: NDArray[np.int64]
    records: Any
    rest: tuple[Any, ...]
    fields: Fields


class Processes:
    """A pool of worker processes that make batches.

    Args:
        number: Number of workers, >= 1.
        source: Source that the workers read from; None if tasks contain their records.
        transform: Transform that the workers apply, or None.
    Raises:
        ArgumentError: If the source or transform can't be pickled.
    """

    def __init__(self, number: int, source: Source | None, transform: Transform | None) -> None:
        self.number = number
        try:
            self._job = pickle.dumps((source, transform))
        except Exception as error:
            raise ArgumentError(
                f"processes={number} with a source or transform that can't be pickled ({error})",
                expected="functions and classes defined at the top level of a module, which can be pickled",
                fix="define the transform with `def` in a module, or use processes=0",
            ) from error
        self._pool: ProcessPoolExecutor | None = None
        self._lifeline: Connection | None = None

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_pool": None, "_lifeline": None}

    def make(self, tasks: Iterable[Task], ahead: int) -> Generator[tuple[Any, ...]]:
        """Yield the batches in the order of their tasks; several are made ahead.

        An error in a worker is raised in place of its batch, with the worker's traceback.

        Args:
            tasks: Tasks in order.
            ahead: Number of finished batches that may wait, in addition to one in each worker.
        Raises:
            StepError: If a worker died.
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
                f"processes={self.number}, one of which died",
                expected="worker processes that run until the batches end",
                fix="see the worker's output above, which may have run out of memory; in a script, put the code that "
                'uses processes= under `if __name__ == "__main__":`',
            ) from error
        finally:
            # Unneeded batches must not delay the next loop or Ctrl-C. They get a short time to finish, because starting
            # new workers usually costs more than that.
            begun = [future for future in waiting if not future.cancel()]
            if futures.wait(begun, timeout=_GRACE).not_done:
                self.close()

    def close(self) -> None:
        """Stop the workers; the next batch starts new ones."""
        pool, lifeline, self._pool, self._lifeline = self._pool, self._lifeline, None, None
        if lifeline is not None:
            lifeline.close()
        if pool is not None:
            pool.shutdown(wait=True, cancel_futures=True)

    def _submit(self, task: Task) -> "Future[tuple[Any, ...]]":
        if self._pool is None:
            context = multiprocessing.get_context("spawn")
            receiver, self._lifeline = context.Pipe(duplex=False)
            self._pool = ProcessPoolExecutor(self.number, context, _initialize, (self._job, receiver))
        with _sigint_blocked():
            return self._pool.submit(_make, task)


@contextlib.contextmanager
def _sigint_blocked() -> Iterator[None]:
    """Block SIGINT while workers start, which inherit the mask, so that only the main process handles Ctrl-C."""
    if not hasattr(signal, "pthread_sigmask"):  # Windows
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _first_of(waiting: "deque[Future[tuple[Any, ...]]]") -> tuple[Any, ...]:
    while futures.wait([waiting[0]], timeout=WAIT_TIMEOUT).not_done:
        pass
    batch = waiting[0].result()
    waiting.popleft()  # last, so that after an interrupt the future is still in the queue and gets cancelled
    return batch


_source: Source | None = None
_transform: Transform | None = None
_initialization_error: Exception | None = None


def _initialize(job: bytes, lifeline: Connection) -> None:
    """Prepare a worker process."""
    global _source, _transform, _initialization_error
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # for Windows, which can't block signals
    threading.Thread(target=_exit_with, args=(lifeline,), daemon=True).start()
    try:
        _source, _transform = pickle.loads(job)
    except Exception as error:  # raised with the first batch; here it would only break the pool
        _initialization_error = error


def _exit_with(lifeline: Connection) -> None:
    wait([lifeline])  # nothing is ever sent, so it becomes ready when the other end is closed
    os._exit(0)


def _make(task: Task) -> tuple[Any, ...]:
    if _initialization_error is not None:
        raise _initialization_error
    records = task.records if _source is None else _source._read(task.indices)
    batch = (records, *task.rest)
    batch = batch if _transform is None else _transform(batch, task.epoch, task.step, task.shard)
    return with_fields(batch, task.fields) if task.fields else batch
