"""`Batches`: a Keras data set of a source, a sampler and weights.

Concepts:
- *epoch, step*: batch (epoch, step) is a pure function of the arguments, without random state or counters.
- *weight*: a sample's class weight times its sample weight; the third part of a batch if either is given.
- *shard*: one of several equal readers, which together read each global batch once.
- *current epoch*: the epoch of `batches[i]`. `set_epoch` sets it. Each plain Keras loop (a `fit`, the validation inside
  it, an `evaluate`) counts its own epochs from there, so that several loops can share one data set.
"""

import copy
from collections.abc import Callable, Generator, Mapping
from typing import Any, Final, Literal

import keras
import numpy as np
from numpy.typing import ArrayLike, NDArray

from tailfit.arguments import checked_choice, whole_number
from tailfit.data.feeding.arguments import (
    check_arguments,
    check_step,
    checked_shard,
    keras_readers,
    refuse_empty_classes,
    refuse_ragged,
    steps_of,
)
from tailfit.data.feeding.fields import Fields, with_fields
from tailfit.data.feeding.keras_loops import KerasLoops, calling_adapter, loop_around
from tailfit.data.feeding.planned import PlannedBlock, planned_block
from tailfit.data.feeding.predicting import for_prediction
from tailfit.data.feeding.processes import Processes, Task
from tailfit.data.feeding.read_ahead import read_ahead
from tailfit.data.feeding.substitute import Substitute
from tailfit.data.feeding.targets import as_targets, compact_labels
from tailfit.data.feeding.transforming import Function, Transform
from tailfit.data.feeding.weighting import multiplied, refuse_misread_weights, weights_at, weights_of
from tailfit.data.records.ragged import Ragged
from tailfit.data.records.trees import leaves
from tailfit.data.source import Source
from tailfit.errors import ArgumentError
from tailfit.samplers import ByLength, Sampler, Sequential, Shuffle
from tailfit.samplers.base import Plan
from tailfit.schedules import Schedule
from tailfit.workers import place

__all__ = ["Batches", "Into"]

Into = Callable[[], tuple[Any, ...] | None]


class Batches(keras.utils.PyDataset):
    """Batches of a source in a sampler's order, for `fit`, `evaluate`, `predict` and custom loops.

    Batch (epoch, step) is `(x, y)`, `(x, y, w)` with weights, or `(x,)` without labels; every batch has new arrays.
    `tailfit.Model` reads them in order for any `shuffle=`. A plain `keras.Model` needs `shuffle=False`, reads without
    read-ahead, and must read the steps in order; your own code may read `batches[i]` in any order. A plain `fit` starts
    at the epoch set by `set_epoch`, initially 0.

    Args:
        source: Source of the samples.
        batch_size: Samples per global batch; the last batch of an epoch may have fewer.
        sampler: Sampler that draws positions. Default `tailfit.samplers.Shuffle()`, in which case `predict`, `evaluate`
            and validation read each sample once in the source's order; see `in_source_order`.
        seed: Seed >= 0 of the order and of `transform`.
        class_weight: Weight of every class that has samples, by name or class index; or the name of a scheme of
            `tailfit.weights.class_weights`, computed from the source; or a schedule of one weight per class.
        sample_weight: One weight per sample in the source's order; or weights by condition or class name, see
            `tailfit.weights.sample_weights`. Class and sample weights multiply.
        transform: Function `transform(batch, rng) -> batch` of a whole batch with a random generator that depends on
            (seed, epoch, step). It may run in the reader thread, or in one of the `processes`.
        one_hot: Whether y is one-hot `float32[b, C]` instead of class indices. Soft and multi-label y always has this
            shape.
        drop_remainder: Whether to drop a last short batch; `predict` refuses to drop samples.
        shard: `(index, count)`: read only part `index` of `count` contiguous, nearly equal parts of each global batch.
            `"auto"`: the part of this worker, see `tailfit.workers.place`; `predict` and `evaluate` read all.
        prefetch: Number of batches that `iterate` reads ahead in a thread. 0 reads in the calling thread, as does a
            source in memory without a `transform`.
        on_error: Treatment of a record that can't be read: `"raise"` an error, or `"skip"` it. Then it is replaced by
            the next readable record of its batch, with that one's label and weight, and listed in `skipped`. Epochs
            keep their length, and batches remain a pure function of (epoch, step).
        processes: Number of worker processes that read and transform batches for `iterate` and `tailfit.Model`, with up
            to `prefetch` batches ready in addition to those in progress; 0 for none. Batches do not depend on it.
            `transform`, and the source unless it is in memory, must be picklable.
        device: True keeps the samples on the device during `fit`, and each step takes its own there; `"auto"` does so
            on a GPU or TPU, where it saves moving each batch. Only a compiled `tailfit.Model` on JAX does so, for a
            source in memory of at most half of the free memory, without `transform` and `on_error="skip"`.
        workers, use_multiprocessing: Keras' own readers, which must stay off.
    Shapes: x `[b, ...]` in the records' units; y class indices `int32[b]`, or `float32[b, C]`; w `float32[b]`.
    Raises:
        ArgumentError: If arguments are out of range, or contradict each other.
        StepError: If a plain Keras loop reads out of order.

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
        shard: tuple[int, int] | Literal["auto"] = (0, 1),
        prefetch: int = 2,
        *,
        on_error: Literal["raise", "skip"] = "raise",
        processes: int = 0,
        device: bool | Literal["auto"] = False,
        workers: int = 1,
        use_multiprocessing: bool = False,
    ) -> None:
        if workers != 1 or use_multiprocessing:
            raise keras_readers(workers, use_multiprocessing)
        super().__init__()
        check_arguments(
            source, sampler, transform, on_error=on_error, flags={"one_hot": one_hot, "drop_remainder": drop_remainder}
        )
        self.device: Final = device if isinstance(device, bool) else checked_choice(device, "device", ("auto",))
        self.source: Final = source
        self.batch_size: Final = whole_number("batch_size", batch_size, least=1)
        self.sampler: Final = Shuffle() if sampler is None else sampler
        self._sampler_given: Final = sampler is not None
        self.seed: Final = whole_number("seed", seed)
        self.transform: Final = transform
        self.one_hot: Final = one_hot
        self.drop_remainder: Final = drop_remainder
        self.given_shard: Final = shard if shard == "auto" else checked_shard(shard, self.batch_size)
        self.prefetch: Final = whole_number("prefetch", prefetch)
        self._substitute: Final = Substitute(source) if on_error == "skip" else None
        self.class_weight_schedule: Final = class_weight if isinstance(class_weight, Schedule) else None
        self._weights: Final = weights_of(source, class_weight, sample_weight)
        if self.sampler.by_class:
            refuse_empty_classes(source)
        self._targets: Final = compact_labels(source)
        self.plan: Final = self._plan_with(self.sampler)
        self._transform: Final = None if transform is None else Transform(self._bound(transform), self.seed)
        self._size: Final = self.plan.size(0)
        self._steps: Final = self._count_steps()
        self._block: PlannedBlock | None = None  # kept for the next step: Keras reads batches one by one
        self._loops: Final = KerasLoops()
        self._processes: Final = self._pool_of(whole_number("processes", processes))
        self._fields: Fields = {}  # values of every sample of the source that batches carry

    def _plan_with(self, sampler: Sampler) -> Plan:
        labels = len(self.source) if self.source.labels is None else self.source.labels
        return sampler.plan(labels, seed=self.seed, batch_size=self.batch_size)

    def _bound(self, transform: Function) -> Function:
        """Let a transform that depends on what is drawn, such as `tailfit.augment`, prepare for these batches."""
        prepare = getattr(transform, "for_batches", None)
        return transform if prepare is None else prepare(self)

    def _pool_of(self, number: int) -> Processes | None:
        if not number:
            return None
        reads_here = self.source.in_memory or self._substitute is not None
        if reads_here and self._transform is None:
            raise ArgumentError(
                f"processes={number} for {self.source!r} without a transform",
                expected="processes= only with a transform, or for a source that is read from files",
                fix="drop processes=, because reading from memory is faster than receiving from a process",
            )
        return Processes(number, None if reads_here else self.source, self._transform)

    def _count_steps(self) -> int:
        return steps_of(self._size, self.batch_size, self.shard[1], drop_remainder=self.drop_remainder)

    def __len__(self) -> int:
        return self._steps

    @property
    def shard(self) -> tuple[int, int]:
        """The shard `(index, count)`; with `shard="auto"`, that of this worker now."""
        if self.given_shard != "auto":
            return self.given_shard
        here = place()
        return checked_shard((here.rank, here.world), self.batch_size)

    def __repr__(self) -> str:
        shard = "" if self.shard == (0, 1) else f", shard {self.shard[0]} of {self.shard[1]}"
        weighted = "" if self._weights is None else ", weighted"
        return f"<Batches: {len(self)} of {self.batch_size} from {self.source!r}, {self.sampler!r}{weighted}{shard}>"

    @property
    def weights(self) -> NDArray[np.float64] | None:
        """The weight of each sample of the source in the current epoch, or None."""
        return self.weights_at(self.epoch)

    def weights_at(self, epoch: int) -> NDArray[np.float64] | None:
        """Return the weight of each sample of the source in an epoch, or None."""
        return None if self._weights is None else weights_at(self._weights, epoch)

    @property
    def skipped(self) -> dict[str, str]:
        """Error message of each unreadable record found so far, by ID, with `on_error="skip"`."""
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
        """Expected total weight of each class in the current epoch, `float64[C]`; the class counts for losses."""
        return self.class_counts_at(self.epoch)

    def class_counts_at(self, epoch: int) -> NDArray[np.float64]:
        """Return the expected total weight of each class in an epoch, `float64[C]`; without weights, of samples."""
        if self.source.labels is None:
            return self.source.class_counts
        return self.plan.class_sums(weights=self.weights_at(epoch), epoch=epoch, num_classes=len(self.class_names))

    def weighted(
        self,
        class_weight: Mapping[Any, float] | str | Schedule | None = None,
        sample_weight: ArrayLike | Mapping[str, float] | None = None,
    ) -> "Batches":
        """Return the same batches with their weights multiplied by further ones, as in `fit(batches, class_weight=)`.

        Args:
            class_weight, sample_weight: See `Batches`.

        >>> import tailfit
        >>> batches = Batches(tailfit.data.Arrays(np.eye(2), [0, 1]), class_weight={0: 1.0, 1: 3.0})
        >>> batches.weighted(sample_weight=[2.0, 1.0]).weights.tolist(), batches.weights.tolist()
        ([2.0, 3.0], [1.0, 3.0])
        """
        further = weights_of(self.source, class_weight, sample_weight)
        if further is None:
            return self
        schedule = class_weight if isinstance(class_weight, Schedule) else self.class_weight_schedule
        return self._replace(_weights=multiplied(self._weights, further), class_weight_schedule=schedule)

    def with_fields(self, fields: Fields) -> "Batches":
        """Return the same batches, which also carry values of each sample; see `tailfit.steps.Step.fields`.

        Args:
            fields: Arrays of one row per sample of the source, in its order, by name.
        """
        return self._replace(_fields=dict(fields)) if fields or self._fields else self

    def in_source_order(self) -> "Batches":
        """Return batches of the same samples, each once and in the source's order.

        `predict` and `evaluate` read these if no `sampler` was passed. Row i of a prediction is then sample i, except
        with `shard`.

        >>> import tailfit
        >>> batches = Batches(tailfit.data.Arrays(np.arange(3.0)), 2).in_source_order()
        >>> [x.tolist() for x, in batches]
        [[0.0, 1.0], [2.0]]
        """
        plan = self._plan_with(Sequential())
        ordered = self._replace(sampler=Sequential(), plan=plan, _size=plan.size(0))
        return ordered._replace(_steps=ordered._count_steps())

    def _replace(self, **attributes: Any) -> "Batches":
        """Return a copy with different attributes, which shares epochs, processes and skipped records."""
        changed = copy.copy(self)
        changed.__dict__.update(attributes)
        return changed

    def for_evaluation(self) -> "Batches":
        """Return the batches for `evaluate` and validation: in the source's order unless a sampler was passed."""
        read = self if self._sampler_given else self.in_source_order()
        return read._replace(given_shard=(0, 1)) if read.given_shard == "auto" else read

    def indices(self, epoch: int, step: int) -> NDArray[np.int64]:
        """Return the positions in the source of a batch's samples, or of this shard's part of them.

        >>> import tailfit
        >>> batches = Batches(tailfit.data.Arrays(np.arange(4.0)), 4, tailfit.samplers.Sequential(), shard=(1, 2))
        >>> batches.indices(epoch=0, step=0).tolist()
        [2, 3]
        """
        check_step(whole_number("epoch", epoch), step, len(self))
        return self.plan.indices(epoch, *self._positions(step))

    def step_of_another_length(self) -> int | None:
        """Return a step of the current epoch whose records are padded to a different length from those of step 0.

        Return None if there is no such step, or neither the sampler nor the source has lengths.

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

        def padded_length(step: int) -> int:
            longest = lengths[self.indices(self.epoch, step)].max()
            return int(longest if by_length is None else np.searchsorted(by_length.edges, longest))

        first = padded_length(0)
        return next((step for step in range(1, len(self)) if padded_length(step) != first), None)

    def _positions(self, step: int, shard: tuple[int, int] | None = None) -> tuple[int, int]:
        """Return the start and stop of a shard's part, by default this one's, of a batch in its epoch."""
        start, stop = step * self.batch_size, min((step + 1) * self.batch_size, self._size)
        index, count = shard or self.shard
        return start + (stop - start) * index // count, start + (stop - start) * (index + 1) // count

    def iterate_indices(self, epoch: int, start: int = 0) -> Generator[NDArray[np.int64]]:
        """Yield `indices` of the steps from `start` on, computed for many steps at once to save time per batch.

        >>> import tailfit
        >>> batches = Batches(tailfit.data.Arrays(np.arange(3.0)), 2, tailfit.samplers.Sequential())
        >>> [indices.tolist() for indices in batches.iterate_indices(epoch=0)]
        [[0, 1], [2]]
        """
        block = None
        for step in range(start, len(self)):
            block = planned_block(self.plan, self._positions, len(self), epoch, step, block)
            yield block.part(*self._positions(step))

    def read(self, epoch: int, step: int) -> tuple[Any, ...]:
        """Return batch (epoch, step), regardless of the current epoch."""
        check_step(whole_number("epoch", epoch), step, len(self))
        self._block = block = planned_block(self.plan, self._positions, len(self), epoch, step, self._block)
        return self._read(epoch, step, block.part(*self._positions(step)))

    def _stream(self, epoch: int, start: int, into: Into | None = None) -> Generator[tuple[Any, ...]]:
        """Yield the batches of an epoch from a step on, each read when it is requested."""
        for step, indices in enumerate(self.iterate_indices(epoch, start), start):
            out = None if into is None else into()
            # A batch with a different number of samples, such as a short last batch, is read into new arrays.
            if out is None or any(len(leaf) != len(indices) for _, leaf in leaves(out)):
                yield self._read(epoch, step, indices)
                continue
            self.source._read_into(out[0], indices)
            for target, values in zip(out[1:], self._labels_and_weights(epoch, indices), strict=True):
                target[...] = values
            yield out

    def _read(
        self, epoch: int, step: int, indices: NDArray[np.int64], shard: tuple[int, int] | None = None
    ) -> tuple[Any, ...]:
        # source._read rather than source.read, because the sampler's positions are known to be in range.
        if self._substitute is None:
            records = self.source._read(indices)
        else:
            indices, records = self._substitute.read(indices)
        if isinstance(records, Ragged) and self._transform is None:
            raise refuse_ragged(self.source)
        batch = (records, *self._labels_and_weights(epoch, indices))
        if self._transform is not None:
            batch = self._transform(batch, epoch, step, shard or self.shard)
        return with_fields(batch, self._fields_of(indices)) if self._fields else batch

    def _fields_of(self, indices: NDArray[np.int64]) -> Fields:
        return {name: values[indices] for name, values in self._fields.items()}

    def _labels_and_weights(self, epoch: int, indices: NDArray[np.int64]) -> tuple[Any, ...]:
        """Return the parts of a batch after the records: y and the weights, if any."""
        parts: tuple[Any, ...] = ()
        if self._targets is not None:
            parts += (as_targets(self._targets[indices], one_hot_of=len(self.class_names) if self.one_hot else None),)
        weights = self.weights_at(epoch)
        return parts if weights is None else (*parts, weights[indices].astype(np.float32))

    def _task(self, epoch: int, step: int, indices: NDArray[np.int64], shard: tuple[int, int] | None = None) -> Task:
        """Return the task for a worker process, with the records if reading them here is cheaper than there."""
        records = None
        if self._substitute is not None:
            indices, records = self._substitute.read(indices)
        elif self.source.in_memory:
            records = self.source._read(indices)
        parts, fields = self._labels_and_weights(epoch, indices), self._fields_of(indices)
        return Task(epoch, step, shard or self.shard, indices, records, parts, fields)

    def iterate(self, epoch: int, start: int = 0) -> Generator[tuple[Any, ...]]:
        """Yield the batches of an epoch from a step on, read ahead.

        Closing the generator stops its thread; `close` stops the worker processes.

        >>> import tailfit
        >>> batches = Batches(tailfit.data.Arrays(np.arange(3.0)), 2, tailfit.samplers.Sequential())
        >>> [x.tolist() for x, in batches.iterate(epoch=0, start=1)]
        [[2.0]]
        """
        return self.iterate_into(None, epoch, start)

    def iterate_into(self, into: Into | None, epoch: int, start: int = 0) -> Generator[tuple[Any, ...]]:
        """Yield batches as `iterate` does, but read batches from memory into existing arrays.

        Args:
            into: Function that is called before such a batch is read. It returns arrays with the structure, shapes and
                dtypes of a batch, which are filled and returned, or None for new arrays. They are not used for a batch
                with a different number of samples.
            epoch, start: Epoch and step of the first batch.
        """
        whole_number("epoch", epoch)
        if not 0 <= start <= len(self):
            raise ArgumentError(
                f"start={start}",
                expected=f"a step from 0 to {len(self)}",
                fix="pass start <= len(batches), the number of steps per epoch",
            )
        if self._processes is not None:
            numbered = enumerate(self.iterate_indices(epoch, start), start)
            return self._processes.make((self._task(epoch, step, indices) for step, indices in numbered), self.prefetch)
        # No reader thread here, because passing a batch between threads takes longer than copying it from memory.
        if self.source.in_memory and self.transform is None:
            return self._stream(epoch, start, into if self._substitute is None and not self._fields else None)
        return read_ahead(self._stream(epoch, start), self.prefetch)

    def close(self) -> None:
        """Stop the worker processes, if any, as `tailfit.Model.fit` does at its end; the next batch starts new ones."""
        if self._processes is not None:
            self._processes.close()

    def __iter__(self) -> Generator[tuple[Any, ...]]:
        """Iterate over the batches of the current epoch; `on_epoch_end()` or `set_epoch` changes the epoch."""
        return self.iterate(self.epoch)

    @property
    def epoch(self) -> int:
        """The current epoch: the one set, or the one that a Keras loop read most recently."""
        return self._loops.epoch

    def set_epoch(self, epoch: int) -> None:
        """Set the current epoch, from which Keras loops continue."""
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
        """Check the order of a Keras loop; called by Keras."""
        adapter = calling_adapter(self)
        if adapter is not None:
            self._loops.begin(adapter)

    def on_epoch_end(self) -> None:
        """Move to the next epoch, unless Keras calls it, whose loops count their own epochs."""
        adapter = calling_adapter(self)
        if adapter is None:
            self.set_epoch(self.epoch + 1)
        else:
            self._loops.end(adapter)

    @property
    def workers(self) -> int:
        """1, so that Keras starts no readers of its own; `Batches` reads ahead by itself."""
        # A Keras loop reads this attribute first, and in the thread that called fit, evaluate or predict. So this is
        # the place to see which of these is running.
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
        """False, so that Keras starts no processes of its own."""
        return False

    @use_multiprocessing.setter
    def use_multiprocessing(self, value: bool) -> None:
        if value:
            raise keras_readers(1, value)
