"""The data set through which Keras' loops read a `Batches`: each epoch in its own order, from its first step."""

import threading
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, Literal, Protocol

import keras

from tailfit.data import Batches
from tailfit.data.feeding.batches import Into
from tailfit.data.feeding.pieces import iterate_pieces, sample_of_step
from tailfit.data.feeding.predicting import for_prediction
from tailfit.keras_private import forget_generators, forget_loops
from tailfit.training.held import Held

__all__ = ["EpochMarker", "Feed", "StepObserver", "as_feed", "destination", "reading"]


class StepObserver(Protocol):
    """An observer of the steps of a `fit`, which can also start an epoch at a later step; see `keras_private`."""

    def first_step(self) -> int:
        """Return the step at which the epoch starts; called once per epoch, after `on_epoch_begin`."""

    def before_steps(self) -> None:
        """Run after the data of the epoch have been opened, before its first step."""

    def between_steps(self, step: int) -> None:
        """Run after all steps of the epoch before `step`."""


# A consumer that stacks batches sets this to a function that returns the buffer of the next batch, in the thread it
# reads in. Such buffers are overwritten later. Loops and generators of users leave it unset.
destination: ContextVar[Into] = ContextVar("destination", default=lambda: None)


def _next_row() -> Any:
    return destination.get()()


class Feed(keras.utils.PyDataset):
    """A `Batches` as a `PyDataset`: reading index 0 opens the stream of the epoch, further indices continue it.

    Before training, Keras reads the first batch (TensorFlow: two) to learn shapes. That stream is closed when index 0
    is read again, which is when the epoch really begins.

    TensorFlow reads in its own thread, and goes on for a while after the loop has ended. From then on the feed opens no
    stream and returns its last batch, which is not used; raising an error instead would make TensorFlow log it.

    TensorFlow takes the axes that differ between the first two batches as variable, and all others as fixed. So where
    records differ in length, it is given a second batch of another length than the first.

    With `held`, the samples are on the device, and a batch consists of the positions of its samples there.

    If an `observer` starts an epoch at a later step, Keras still counts from 0, and TensorFlow reads ahead beyond the
    end; those batches are not used.
    """

    def __init__(self, batches: Batches) -> None:
        super().__init__()
        self.batches, self.epoch = batches, 0
        self.error: Exception | None = None
        self.observer: StepObserver | None = None
        self.held: Held | None = None
        self._first = 0
        self._shape_reader: int | None = None  # on TensorFlow: the thread that reads batches for their shapes only
        self._stream: Generator[Any] | None = None
        self._latest: Any = None  # on TensorFlow
        self._next, self._loops, self._over = 0, 0, False
        self._lock = threading.RLock()
        self._pieces: Sequence[int] = ()  # the pieces that this worker reads, if it trains by parts
        self._parts = self._piece_step = 0
        self._piece_stream: Generator[tuple[int, list[Any]]] | None = None
        self._example: Any = None

    def __len__(self) -> int:
        return len(self.batches)

    def __getitem__(self, step: int) -> Any:
        with self._lock:
            if self._over:
                if self._latest is None:
                    raise IndexError(f"step {step} of a loop that is over")
                return self._latest
            if self._parts:
                if self._example is None:
                    self._example = sample_of_step(self.batches, self.epoch, 0)
                return self._example
            if step == 1 and threading.get_ident() == self._shape_reader:
                step = self.batches.step_of_another_length() or step
            step = min(self._first + step, len(self) - 1)
            if step != self._next or self._stream is None:
                self._close()
                self._stream = self._opened(step)
            self._next = step + 1
            try:
                batch = next(self._stream)
            except Exception as error:
                self.error = error
                raise
            if self._shape_reader is not None:
                self._latest = batch
            return batch

    def _opened(self, step: int) -> Generator[Any]:
        if self.held is not None:
            return self.held.positions(self.batches, self.epoch, step)
        return self.batches.iterate_into(_next_row, self.epoch, step)

    def read_in_pieces(self, pieces: Sequence[int], parts: int) -> None:
        """Let `next_pieces` read batches; Keras' loop then only counts the steps, and gets one sample again and again.

        Args:
            pieces: Indices of the pieces that this worker reads.
            parts: Number of pieces of a batch.
        """
        self._pieces, self._parts = pieces, parts

    def next_pieces(self) -> tuple[int, list[Any], Any]:
        """Return the number of samples of the next batch, its pieces, and a sample of it if all pieces are empty."""
        if self._piece_stream is None:
            self._piece_step = self._first
            self._piece_stream = iterate_pieces(self.batches, self.epoch, self._first, self._pieces, self._parts)
        rows, pieces = next(self._piece_stream)
        empty = all(piece is None for piece in pieces)
        stand_in = sample_of_step(self.batches, self.epoch, self._piece_step) if empty else None
        self._piece_step += 1
        return rows, pieces, stand_in

    @property
    def first(self) -> int:
        """The first step of the epoch that is read."""
        return self._first

    def reopen(self) -> None:
        """Begin the epoch again."""
        with self._lock:
            self._close()

    def restart(self, epoch: int) -> None:
        with self._lock:
            self._close()
            self.epoch = epoch
            self._first = 0 if self.observer is None else self.observer.first_step()
            self.batches.set_epoch(epoch)

    def begin(self) -> None:
        """Count a loop that begins; the validation inside a fit is one of its own."""
        self._loops += 1
        if keras.backend.backend() == "tensorflow":
            self._shape_reader = threading.get_ident()  # the batches it trains on are read in other threads

    def end(self) -> None:
        """Count a loop that ends; after the outermost one nothing is read any more."""
        with self._lock:
            self._loops -= 1
            self._over = self._loops == 0
            self._close()
            self.error = None  # its traceback refers to the frames of the loop, and TensorFlow may refer to this feed
            if self._over:
                self.batches.close()
                if keras.backend.backend() == "tensorflow":
                    forget_generators(self)

    def _close(self) -> None:
        stream, self._stream, self._next = self._stream, None, 0
        pieces, self._piece_stream = self._piece_stream, None
        for opened in (stream, pieces):
            if opened is not None:
                opened.close()  # a generator: closing it ends its reader threads


class EpochMarker(keras.callbacks.Callback):
    """Passes the number of the epoch to the feed: Keras tells data sets only that an epoch begins."""

    def __init__(self, feed: Feed) -> None:
        super().__init__()
        self.feed = feed

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        self.feed.restart(epoch)


def as_feed(data: Any, reads: Literal["training", "evaluation", "prediction"]) -> Any:
    """Return a `Batches` as a `Feed` for a loop; anything else unchanged."""
    if not isinstance(data, Batches):
        return data
    if reads == "training":
        return Feed(data)
    return Feed(data.for_evaluation() if reads == "evaluation" else for_prediction(data))


@contextmanager
def reading(*data: Any) -> Iterator[None]:
    """Run one of Keras' loops within this context; it ends the reader threads of feeds, also after an error.

    An error in a feed reaches the user as it was raised. TensorFlow, which reads in its own thread, raises another
    error with the traceback of the first in its message.
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
        raise read_error  # outside the except block: as its context, TensorFlow's error would keep its frames alive
