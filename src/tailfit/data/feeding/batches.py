"""`Batches`: a source, a sampler and weights, joined into what `fit` takes.

Concepts:
- *epoch, step*: batch (epoch, step) is a pure function of the arguments; nothing is drawn, counted or kept.
- *weight*: a sample's class weight times its sample weight; delivered beside x and y where either is given.
- *shard*: one of several equal readers; together they read each global batch once.
- *current epoch*: what `batches[i]` is of. `set_epoch` sets it; each plain Keras loop (a `fit`, the validation
  inside it, an `evaluate`) counts its own epochs from there, so that one data set may serve several.
"""

import copy
from collections.abc import Callable, Generator, Mapping
from typing import Any, Final, Literal

import keras
import numpy as np
from numpy.typing import ArrayLike, NDArray

from tailfit.arguments import whole_number
from tailfit.data.feeding.arguments import (
    check_arguments,
    checked_shard,
    keras_readers,
    refuse_empty_classes,
    refuse_ragged,
)
from tailfit.data.feeding.keras_loops import KerasLoops, calling_adapter, loop_around
from tailfit.data.feeding.predicting import for_prediction
from tailfit.data.feeding.processes import Processes, Task
from tailfit.data.feeding.read_ahead import read_ahead
from tailfit.data.feeding.substitute import Substitute
from tailfit.data.feeding.transforming import Function, Transform
from tailfit.data.feeding.weighting import multiplied, refuse_misread_weights, weights_at, weights_of
from tailfit.data.records.ragged import Ragged
from tailfit.data.records.trees import leaves
from tailfit.data.source import Source
from tailfit.errors import ArgumentError
from tailfit.samplers import ByLength, Sampler, Sequential, Shuffle
from tailfit.samplers.base import Plan
from tailfit.schedules import Schedule

__all__ = ["Batches", "Into"]

_PLANNED = 1 << 16  # samples planned at once
Into = Callable[[], tuple[Any, ...] | None]


class Batches(keras.utils.PyDataset):
    """The batches of a source in a sampler's order, for `fit`, `evaluate`, `predict` and loops of one's own.

    Batch (epoch, step) is `(x, y)`, with weights `(x, y, w)`, of an unlabelled source `(x,)`; every batch is in fresh
    arrays. `tailfit.Model` reads it in order whatever `shuffle=` says. A plain `keras.Model` must be told
    `shuffle=False`, and reads without read-ahead; its steps must come in order, while `batches[i]` of your own may
    be any. A plain `fit` begins at the epoch set by `set_epoch` (0).

    Args:
        source: Where the samples are.
        batch_size: Samples in a global batch; the last one of an epoch may have fewer.
        sampler: Draws positions; `tailfit.samplers.Shuffle()` without it, but `predict`, `evaluate` and a validation
            then read each sample once, in the source's order, see `in_source_order`.
        seed: Non-negative; with (epoch, step) it decides order and `transform`'s randomness.
        class_weight: A weight for every class that has samples, by name or code; or the name of a scheme of
            `tailfit.weights.class_weights`, computed from the source; or a schedule of one weight a class.
        sample_weight: One weight a sample in the source's order; or weights by condition or class name, as
            `tailfit.weights.sample_weights` takes them. Both kinds multiply.
        transform: `transform(batch, rng) -> batch` of a whole batch, given a generator of its own per
            (seed, epoch, step); it may run in the reading thread, or in one of `processes`.
        one_hot: Whether y is one-hot `float32[b, C]` rather than codes; soft and multi-label y is so anyway.
        drop_remainder: Whether a last short batch is left out; `predict` refuses to leave samples out so.
        shard: `(index, count)`: read the index-th of count contiguous, nearly equal parts of each global batch.
        prefetch: Batches that `iterate` reads ahead in a thread; 0 reads in the calling thread, and so does a source
            in memory without a `transform`.
        on_error: What to do with a record that can't be read: `"raise"`, or `"skip"`: it is replaced by the next one of
            its batch that can, with that one's label and weight, and written down in `skipped`. Epochs keep their
            length, and batches stay a pure function of (epoch, step).
        processes: How many other processes read and transform batches for `iterate` and `tailfit.Model`, up to
            `prefetch` beyond those that they work on; 0: none. Batches are the same however many. `transform`, and the
            source unless it is in memory, must be what pickle takes.
        workers, use_multiprocessing: Keras' own readers, which must stay off.
    Shapes: x `[b, ...]` in the records' units; y `int32[b]` codes, or `float32[b, C]`; w `float32[b]`.
    Raises:
        ArgumentError: for arguments out of range, or that contradict each other.
        StepError: when a plain Keras loop reads out of order.

    >>> import tailfit
    >>> source = tailfit.data.Arrays(np.arange(5.0), ["ok", "ok", "ok", "ok", "leak"])
    >>> batches = Batches(source, batch_size=2, sampler=tailfit.samplers.Sequential(), class_weight="balanced")
    >>> len(batches), [array.tolist() for array in batches[2]]
    (3, [[4.0], [0], [2.5]])
    >>> batches.class_counts.tolist()
    [2.5, 2.5]
    """

    def __init__(
        self,
        source: Source,
        batch_size: int = 64,
        sampler: Sampler | None = None,
        seed: int = 0,
        class_weight: Mapping[int, float] | Mapping[float, float] | Mapping[str, float] | str | Schedule | None = None,
        sample_weight: ArrayLike | Mapping[str, float] | None = None,
        transform: Function | None = None,
        one_hot: bool = False,
        drop_remainder: bool = False,
        shard: tuple[int, int] = (0, 1),
        prefetch: int = 2,
        *,
        on_error: Literal["raise", "skip"] = "raise",
        processes: int = 0,
        workers: int = 1,
        use_multiprocessing: bool = False,
    ) -> None:
        if workers != 1 or use_multiprocessing:
            raise keras_readers(workers, use_multiprocessing)
        super().__init__()
        check_arguments(
            source, sampler, transform, on_error=on_error, flags={"one_hot": one_hot, "drop_remainder": drop_remainder}
        )
        if one_hot and source.labels is None:
            raise ArgumentError("one_hot=True for an unlabelled source", expected="labels", fix="leave it out")
        self.source: Final = source
        self.batch_size: Final = whole_number("batch_size", batch_size, least=1)
        self.sampler: Final = Shuffle() if sampler is None else sampler
        self._sampler_given: Final = sampler is not None
        self.seed: Final = whole_number("seed", seed)
        self.transform: Final = transform
        self.one_hot: Final = one_hot
        self.drop_remainder: Final = drop_remainder
        self.shard: Final = checked_shard(shard, self.batch_size)
        self.prefetch: Final = whole_number("prefetch", prefetch)
        self._transform: Final = None if transform is None else Transform(transform, self.seed, self.shard)
        self._substitute: Final = Substitute(source) if on_error == "skip" else None
        self.class_weight_schedule: Final = class_weight if isinstance(class_weight, Schedule) else None
        self._weights: Final = weights_of(source, class_weight, sample_weight)
        if self.sampler.by_class:
            refuse_empty_classes(source)
        self._targets: Final = _compact(source)
        self.plan: Final = self._planned_by(self.sampler)
        self._size: Final = self.plan.size(0)
        self._steps: Final = self._count_steps()
        self._loops: Final = KerasLoops()
        self._processes: Final = self._pool_of(whole_number("processes", processes))

    def _planned_by(self, sampler: Sampler) -> Plan:
        labels = len(self.source) if self.source.labels is None else self.source.labels
        return sampler.plan(labels, seed=self.seed, batch_size=self.batch_size)

    def _pool_of(self, number: int) -> Processes | None:
        if not number:
            return None
        reads_here = self.source.in_memory or self._substitute is not None
        if reads_here and self._transform is None:
            raise ArgumentError(
                f"processes={number} for {self.source!r} without a transform",
                expected="processes for a transform, or for a source that is read from files",
                fix="leave it out: reading from memory is faster than receiving from a process",
            )
        return Processes(number, None if reads_here else self.source, self._transform)

    def _count_steps(self) -> int:
        whole, rest = divmod(self._size, self.batch_size)
        steps = whole + (rest > 0 and not self.drop_remainder)
        if steps == 0:
            raise ArgumentError(
                f"an epoch of {self._size} samples in batches of {self.batch_size}"
                + (" with drop_remainder=True" if self.drop_remainder else ""),
                expected="one batch an epoch, at least",
                fix="use a smaller batch_size, or a source with samples",
            )
        if steps > whole and rest < self.shard[1]:
            raise ArgumentError(
                f"a last batch of {rest} samples for {self.shard[1]} shards",
                expected="a sample for each shard in each batch",
                fix="pass drop_remainder=True, or another batch_size",
            )
        return steps

    def __len__(self) -> int:
        return self._steps

    def __repr__(self) -> str:
        shard = "" if self.shard == (0, 1) else f", shard {self.shard[0]} of {self.shard[1]}"
        weighted = "" if self._weights is None else ", weighted"
        return f"<Batches: {len(self)} of {self.batch_size} from {self.source!r}, {self.sampler!r}{weighted}{shard}>"

    @property
    def weights(self) -> NDArray[np.float64] | None:
        """The weight of each of the source's samples, in the current epoch where it follows a schedule."""
        return self.weights_at(self.epoch)

    def weights_at(self, epoch: int) -> NDArray[np.float64] | None:
        """`weights` in an epoch."""
        return None if self._weights is None else weights_at(self._weights, epoch)

    @property
    def skipped(self) -> dict[str, str]:
        """With `on_error="skip"`: what is wrong with each record met so far that can't be read, by ID."""
        return {} if self._substitute is None else dict(self._substitute.skipped)

    @property
    def labels(self) -> NDArray[Any] | None:
        """The source's labels, in its order."""
        return self.source.labels

    @property
    def class_names(self) -> tuple[str, ...]:
        """The source's class names."""
        return self.source.class_names

    @property
    def class_counts(self) -> NDArray[np.float64]:
        """Expected weight of each class in the current epoch, as sampled and weighted: what losses need."""
        return self.class_counts_at(self.epoch)

    def class_counts_at(self, epoch: int) -> NDArray[np.float64]:
        """Expected weight of each class, `float64[C]`, in an epoch: samples where no weights are given."""
        if self.source.labels is None:
            return self.source.class_counts
        return self.plan.class_sums(weights=self.weights_at(epoch), epoch=epoch, num_classes=len(self.class_names))

    def weighted(
        self,
        class_weight: Mapping[Any, float] | str | Schedule | None = None,
        sample_weight: ArrayLike | Mapping[str, float] | None = None,
    ) -> "Batches":
        """The same batches with further weights, which multiply with their own, as `fit(batches, class_weight=)` reads.

        Args:
            class_weight, sample_weight: As `Batches` takes them.

        >>> import tailfit
        >>> batches = Batches(tailfit.data.Arrays(np.eye(2), [0, 1]), class_weight={0: 1.0, 1: 3.0})
        >>> batches.weighted(sample_weight=[2.0, 1.0]).weights.tolist(), batches.weights.tolist()
        ([2.0, 3.0], [1.0, 3.0])
        """
        further = weights_of(self.source, class_weight, sample_weight)
        if further is None:
            return self
        schedule = class_weight if isinstance(class_weight, Schedule) else self.class_weight_schedule
        return self._changed(_weights=multiplied(self._weights, further), class_weight_schedule=schedule)

    def in_source_order(self) -> "Batches":
        """Batches of the same samples, each once and in the source's order: what `predict` and `evaluate` read.

        So they do where no `sampler` was passed. Row i of a prediction then is sample i, unless a `shard` is read.

        >>> import tailfit
        >>> batches = Batches(tailfit.data.Arrays(np.arange(3.0)), 2).in_source_order()
        >>> [x.tolist() for x, in batches]
        [[0.0, 1.0], [2.0]]
        """
        plan = self._planned_by(Sequential())
        ordered = self._changed(sampler=Sequential(), plan=plan, _size=plan.size(0))
        return ordered._changed(_steps=ordered._count_steps())

    def _changed(self, **attributes: Any) -> "Batches":
        """A copy with other attributes; epochs, processes and skipped records are shared."""
        changed = copy.copy(self)
        changed.__dict__.update(attributes)
        return changed

    def for_evaluation(self) -> "Batches":
        """What `evaluate` and a validation read: in the source's order, unless a sampler was passed."""
        return self if self._sampler_given else self.in_source_order()

    def indices(self, epoch: int, step: int) -> NDArray[np.int64]:
        """Positions in the source of the samples of a batch; of this shard's part of it.

        >>> import tailfit
        >>> batches = Batches(tailfit.data.Arrays(np.arange(4.0)), 4, tailfit.samplers.Sequential(), shard=(1, 2))
        >>> batches.indices(epoch=0, step=0).tolist()
        [2, 3]
        """
        if not 0 <= step < len(self):
            # An IndexError ends `for batch in batches` of the old sequence protocol, too.
            raise _NoSuchStepError(
                f"step {step}", expected=f"0 to {len(self) - 1}", fix="an epoch has len(batches) steps"
            )
        return self.plan.indices(whole_number("epoch", epoch), *self._positions(step))

    def step_of_another_length(self) -> int | None:
        """A step of the current epoch whose records are padded to another length than those of step 0.

        None where there is none, or where neither the sampler nor the source knows lengths.

        >>> import tailfit
        >>> source = tailfit.data.Arrays(tailfit.data.Ragged([np.ones(n) for n in (2, 2, 5, 5)]))
        >>> padded = tailfit.data.Pad().transform
        >>> Batches(source, 2, tailfit.samplers.Sequential(), transform=padded).step_of_another_length()
        1
        """
        by_length = self.sampler if isinstance(self.sampler, ByLength) else None
        lengths = self.source.lengths if by_length is None else np.asarray(by_length.lengths)
        if lengths is None:
            return None

        def padded(step: int) -> int:
            longest = lengths[self.indices(self.epoch, step)].max()
            return int(longest if by_length is None else np.searchsorted(by_length.edges, longest))

        first = padded(0)
        return next((step for step in range(1, len(self)) if padded(step) != first), None)

    def _positions(self, step: int) -> tuple[int, int]:
        """Where this shard's part of a batch begins and ends in its epoch."""
        start, stop = step * self.batch_size, min((step + 1) * self.batch_size, self._size)
        index, count = self.shard
        return start + (stop - start) * index // count, start + (stop - start) * (index + 1) // count

    def _planned(self, epoch: int, start: int) -> Generator[NDArray[np.int64]]:
        """`indices` of the steps from one on; many are planned at once, which costs a fraction a batch."""
        together = 1  # the first batch does not wait for others
        while start < len(self):
            last = min(start + together, len(self))
            first_of_block = self._positions(start)[0]
            block = self.plan.indices(epoch, first_of_block, self._positions(last - 1)[1])
            for step in range(start, last):
                begin, end = self._positions(step)
                yield block[begin - first_of_block : end - first_of_block]
            start, together = last, max(_PLANNED // self.batch_size, 1)

    def read(self, epoch: int, step: int) -> tuple[Any, ...]:
        """Batch (epoch, step), whatever epoch is current."""
        return self._read(epoch, step, self.indices(epoch, step))

    def _stream(self, epoch: int, start: int, into: Into | None = None) -> Generator[tuple[Any, ...]]:
        """The batches of an epoch from a step on, read as they are asked for."""
        for step, indices in enumerate(self._planned(epoch, start), start):
            out = None if into is None else into()
            # Another number of samples, as in a short last batch, is read to fresh arrays.
            if out is None or any(len(leaf) != len(indices) for _, leaf in leaves(out)):
                yield self._read(epoch, step, indices)
                continue
            self.source._read_into(out[0], indices)
            for there, given in zip(out[1:], self._beside(epoch, indices), strict=True):
                there[...] = given
            yield out

    def _read(self, epoch: int, step: int, indices: NDArray[np.int64]) -> tuple[Any, ...]:
        # The source's own _read: the positions are in range.
        if self._substitute is None:
            records = self.source._read(indices)
        else:
            indices, records = self._substitute.read(indices)
        if self._transform is not None:
            return self._transform((records, *self._beside(epoch, indices)), epoch, step)
        if isinstance(records, Ragged):
            raise refuse_ragged(self.source)
        return (records, *self._beside(epoch, indices))

    def _beside(self, epoch: int, indices: NDArray[np.int64]) -> tuple[Any, ...]:
        """What stands beside the records in a batch: y, and weights."""
        beside: tuple[Any, ...] = ()
        if self._targets is not None:
            beside += (self._as_targets(self._targets[indices]),)
        weights = self.weights_at(epoch)
        return beside if weights is None else (*beside, weights[indices].astype(np.float32))

    def _as_targets(self, labels: NDArray[Any]) -> NDArray[Any]:
        if labels.ndim == 2:
            return labels
        if self.one_hot:
            rows = np.zeros((len(labels), len(self.class_names)), dtype=np.float32)
            rows[np.arange(len(labels)), labels] = 1.0
            return rows
        # 32 bits: JAX would otherwise narrow them with a warning, and Keras' own labels are int32.
        return labels.astype(np.int32)

    def _task(self, epoch: int, step: int, indices: NDArray[np.int64]) -> Task:
        """A batch to be made by another process; it reads the records itself if that is more than to send them."""
        records = None
        if self._substitute is not None:
            indices, records = self._substitute.read(indices)
        elif self.source.in_memory:
            records = self.source._read(indices)
        return Task(epoch, step, indices, records, self._beside(epoch, indices))

    def iterate(self, epoch: int, start: int = 0) -> Generator[tuple[Any, ...]]:
        """The batches of an epoch from a step on, read ahead; closing the generator ends its thread, `close` processes.

        >>> import tailfit
        >>> batches = Batches(tailfit.data.Arrays(np.arange(3.0)), 2, tailfit.samplers.Sequential())
        >>> [x.tolist() for x, in batches.iterate(epoch=0, start=1)]
        [[2.0]]
        """
        return self.iterate_into(None, epoch, start)

    def iterate_into(self, into: Into | None, epoch: int, start: int = 0) -> Generator[tuple[Any, ...]]:
        """As `iterate`; batches that are read from memory as they are asked for may go into arrays that are there.

        Args:
            into: Asked before such a batch is read, it gives arrays of a batch's structure, shapes and types, which are
                filled and returned; or None, for fresh ones. For another number of samples they are not used.
            epoch, start: Of the first batch.
        """
        whole_number("epoch", epoch)
        if not 0 <= start <= len(self):
            raise ArgumentError(f"start={start}", expected=f"0 to {len(self)}", fix="an epoch has len(batches) steps")
        if self._processes is not None:
            planned = enumerate(self._planned(epoch, start), start)
            return self._processes.make((self._task(epoch, step, indices) for step, indices in planned), self.prefetch)
        # Handing a batch from thread to thread costs more than copying it from memory.
        if self.source.in_memory and self.transform is None:
            return self._stream(epoch, start, into if self._substitute is None else None)
        return read_ahead(self._stream(epoch, start), self.prefetch)

    def close(self) -> None:
        """End the processes, if there are any, as the end of a `tailfit.Model`'s fit does; reading on starts others."""
        if self._processes is not None:
            self._processes.close()

    def __iter__(self) -> Generator[tuple[Any, ...]]:
        """The batches of the current epoch; `on_epoch_end()` or `set_epoch` goes on to another."""
        return self.iterate(self.epoch)

    @property
    def epoch(self) -> int:
        """The current epoch: the one set, or read last by a Keras loop."""
        return self._loops.epoch

    def set_epoch(self, epoch: int) -> None:
        """Make an epoch current; Keras loops go on from it."""
        self._loops.set_epoch(whole_number("epoch", epoch))

    def __getitem__(self, step: int) -> tuple[Any, ...]:
        adapter = calling_adapter(self)
        if adapter is None:
            return self.read(self.epoch, step)
        ordered: Batches | None = self._loops.reordered(adapter)
        if ordered is not None:
            return ordered.read(self._loops.first, step)
        return self.read(self._loops.read(adapter, step, len(self)), step)

    def on_epoch_begin(self) -> None:
        """Called by Keras."""
        adapter = calling_adapter(self)
        if adapter is not None:
            self._loops.begin(adapter)

    def on_epoch_end(self) -> None:
        """Called by Keras; called by hand it makes the next epoch current."""
        adapter = calling_adapter(self)
        if adapter is None:
            self.set_epoch(self.epoch + 1)
        else:
            self._loops.end(adapter)

    @property
    def workers(self) -> int:
        """1, for Keras: `Batches` reads ahead by itself."""
        # A Keras loop asks for it first, in the thread that it was called in.
        adapter = calling_adapter(self)
        if adapter is not None:
            loop = loop_around()
            if loop in ("evaluate", "predict"):
                read = for_prediction(self, self._loops.first) if loop == "predict" else self.for_evaluation()
                if read is not self:
                    self._loops.reorder(adapter, read)
            if adapter.class_weight is not None:
                refuse_misread_weights(self.source, adapter.class_weight)
        return 1

    @workers.setter
    def workers(self, value: int) -> None:
        if value != 1:
            raise keras_readers(value, False)

    @property
    def use_multiprocessing(self) -> bool:
        """False, for Keras."""
        return False

    @use_multiprocessing.setter
    def use_multiprocessing(self, value: bool) -> None:
        if value:
            raise keras_readers(1, value)


class _NoSuchStepError(ArgumentError, IndexError):
    """A step past the end: also what ends Python's iteration by index."""


def _compact(source: Source) -> NDArray[Any] | None:
    """The labels, codes in the smallest type for them: read at random, fewer bytes are fewer waits for memory."""
    labels = source.labels
    if labels is None or labels.ndim == 2:
        return labels
    codes: NDArray[Any] = labels.astype(np.min_scalar_type(len(source.class_names)))
    return codes
