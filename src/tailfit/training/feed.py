"""How `tailfit.Model.fit` reads a `Batches`: each epoch in its own order, from its first step, nothing left behind."""

import threading
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, Literal, Protocol

import keras

from tailfit.data import Batches
from tailfit.data.feeding.batches import Into
from tailfit.data.feeding.predicting import for_prediction
from tailfit.keras_private import forget_generators, forget_loops
from tailfit.training.reused import Reused

__all__ = ["Course", "EpochMarker", "Feed", "as_feed", "destination", "reading"]


class Course(Protocol):
    """What follows a `fit` step by step, and may have it begin within an epoch; see `keras_private`."""

    def first_step(self) -> int:
        """Of the epoch that begins; asked once an epoch, after `on_epoch_begin`."""

    def before_steps(self) -> None:
        """The data of the epoch have been opened, and its first step comes next."""

    def between_steps(self, step: int) -> None:
        """All steps of the epoch before this one are done."""


# Who reads several batches into one array says where the next one goes, in the thread it reads in; a batch that is read
# so is written again. A user's own loops and generators never ask.
destination: ContextVar[Into] = ContextVar("destination", default=lambda: None)


def _next_row() -> Any:
    return destination.get()()


class Feed(keras.utils.PyDataset):
    """A `Batches` as Keras' loops read it: index 0 opens the epoch's stream, the next ones follow it.

    Keras reads the first batch (TensorFlow: two) of a phantom epoch before training begins, to learn shapes. That
    stream is dropped when index 0 is asked for again, which is when the epoch really begins.

    TensorFlow reads in a thread of its own, also for a while after the loop has ended: by then the feed is over, opens
    no stream again, and gives its last batch, which nobody uses: for an error TensorFlow would write a page to the log.

    On TensorFlow all batches must have the axes on which the first two agree. Where records differ in length, the
    second one shown is of another length than the first.

    Where a `course` begins an epoch at a later step, Keras still counts from 0, and TensorFlow reads ahead beyond the
    end; what it gets there is never used.
    """

    def __init__(self, batches: Batches) -> None:
        super().__init__()
        self.batches, self.epoch = batches, 0
        self.error: Exception | None = None
        self.course: Course | None = None
        self._first = 0
        self._looker: int | None = None
        self._stream: Generator[Any] | None = None
        self._latest: Any = None  # on TensorFlow
        self._reused: Reused | None = None  # likewise
        self._next, self._loops, self._over = 0, 0, False
        self._lock = threading.RLock()

    def __len__(self) -> int:
        return len(self.batches)

    def __getitem__(self, step: int) -> Any:
        with self._lock:
            if self._over:
                if self._latest is None:
                    raise IndexError(f"step {step} of a loop that is over")
                return self._latest
            if step == 1 and threading.get_ident() == self._looker:
                step = self.batches.step_of_another_length() or step
            step = min(self._first + step, len(self) - 1)
            if step != self._next or self._stream is None:
                self._close()
                into = _next_row if self._looker is None else self._next_reused
                self._stream = self.batches.iterate_into(into, self.epoch, step)
            self._next = step + 1
            try:
                batch = next(self._stream)
            except Exception as error:
                self.error = error
                raise
            if self._looker is not None:
                self._latest = batch
            return batch

    def _next_reused(self) -> Any:
        if self._reused is None and self._latest is not None:
            self._reused = Reused(self._latest)
        return None if self._reused is None else self._reused()

    def restart(self, epoch: int) -> None:
        with self._lock:
            self._close()
            self.epoch = epoch
            self._first = 0 if self.course is None else self.course.first_step()
            self.batches.set_epoch(epoch)

    def begin(self) -> None:
        """A loop begins; the validation inside a fit has its own."""
        self._loops += 1
        if keras.backend.backend() == "tensorflow":
            self._looker = threading.get_ident()  # what TensorFlow trains on, it reads in other threads

    def end(self) -> None:
        """A loop ends; after the outermost nothing is read any more."""
        with self._lock:
            self._loops -= 1
            self._over = self._loops == 0
            self._close()
            self.error = None  # its traceback leads to all that it met, and TensorFlow may still hold this feed
            if self._over:
                self.batches.close()
                self._reused = None
                if keras.backend.backend() == "tensorflow":
                    forget_generators(self)

    def _close(self) -> None:
        stream, self._stream, self._next = self._stream, None, 0
        if stream is not None:
            stream.close()  # a generator: ends its reader threads


class EpochMarker(keras.callbacks.Callback):
    """Tells the feed which epoch begins: Keras tells data sets that one does, but not which."""

    def __init__(self, feed: Feed) -> None:
        super().__init__()
        self.feed = feed

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        self.feed.restart(epoch)


def as_feed(data: Any, reads: Literal["training", "evaluation", "prediction"]) -> Any:
    """A `Batches` as a `Feed` of what a loop reads; anything else as it is."""
    if not isinstance(data, Batches):
        return data
    if reads == "training":
        return Feed(data)
    return Feed(data.for_evaluation() if reads == "evaluation" else for_prediction(data))


@contextmanager
def reading(*data: Any) -> Iterator[None]:
    """Around one of Keras' loops: ends the reader threads of its feeds, however it ends.

    An error in a feed reaches the user as itself: TensorFlow, which reads in a thread of its own, raises another one
    with the first one's traceback pasted into its message.
    """
    feeds = [part for part in data if isinstance(part, Feed)]
    for feed in feeds:
        feed.begin()
    read_error: Exception | None = None
    try:
        yield
    except BaseException as error:
        for feed in feeds:
            if feed.error is not None and feed.error is not error:
                read_error = feed.error
        if feeds:
            forget_loops(error)
        if read_error is None or not isinstance(error, Exception):
            raise
    finally:
        for feed in feeds:
            feed.end()
    if read_error is not None:
        raise read_error  # here, where TensorFlow's error is gone: it would hold on to all it met
