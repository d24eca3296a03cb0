"""Checks of the arguments of `Batches`."""

import operator
from collections.abc import Mapping
from typing import Any

import numpy as np

from tailfit.data.source import Source
from tailfit.errors import ArgumentError, DataError
from tailfit.samplers import Sampler

__all__ = [
    "check_arguments",
    "check_step",
    "checked_shard",
    "keras_readers",
    "refuse_empty_classes",
    "refuse_ragged",
    "steps_of",
]


def check_arguments(source: Any, sampler: Any, transform: Any, *, on_error: Any, flags: Mapping[str, Any]) -> None:
    """Check the types of arguments of `Batches`.

    Raises:
        ArgumentError: If one has a wrong type or value.
    """
    if not isinstance(source, Source):
        raise ArgumentError(
            f"source of type {type(source).__name__}",
            expected="a tailfit.data.Source",
            fix="wrap arrays as tailfit.data.Arrays(x, y)",
        )
    if not len(source):
        raise ArgumentError(
            "a source without samples", expected="a source with at least one sample", fix="check the source's files"
        )
    if on_error not in ("raise", "skip"):
        raise ArgumentError(
            f"on_error={on_error!r}", expected="'raise' or 'skip'", fix="drop on_error=, or pass 'raise'"
        )
    if not (sampler is None or isinstance(sampler, Sampler)):
        raise ArgumentError(
            f"sampler={sampler!r}",
            expected="an instance of a sampler in tailfit.samplers",
            fix="pass an instance, for example tailfit.samplers.Shuffle()",
        )
    if not (transform is None or callable(transform)):
        raise ArgumentError(
            f"transform={transform!r}",
            expected="a function transform(batch, rng) -> batch",
            fix="pass a function, or drop transform=",
        )
    for name, flag in flags.items():
        if not isinstance(flag, bool | np.bool_):
            raise ArgumentError(f"{name}={flag!r}", expected="True or False", fix=f"pass {name}=True or {name}=False")
    if flags.get("one_hot") and source.labels is None:
        raise ArgumentError(
            "one_hot=True for an unlabelled source",
            expected="a source with labels",
            fix="drop one_hot=, or pass labels to the source",
        )
    if source.ragged and transform is None:
        raise refuse_ragged(source)


class _NoSuchStepError(ArgumentError, IndexError):
    """A step past the end; as an IndexError it also ends iteration by index."""


def check_step(epoch: int, step: int, steps: int) -> None:
    if not 0 <= step < steps:
        raise _NoSuchStepError(
            f"step {step} of epoch {epoch}",
            expected=f"a step from 0 to {steps - 1}",
            fix="use a step < len(batches), the number of steps per epoch",
        )


def refuse_ragged(source: Source) -> ArgumentError:
    return ArgumentError(
        f"{source!r} with records of different length",
        expected="records of one length in a batch",
        fix="pad them with Batches(tailfit.data.Mapped(source, tailfit.data.Pad()), ...), or transform=Pad().transform",
    )


def refuse_empty_classes(source: Source) -> None:
    if source.labels is None:
        raise ArgumentError(
            f"a sampler that draws by class for the unlabelled {source!r}",
            expected="a source with labels",
            fix="pass labels to the source, or use tailfit.samplers.Shuffle()",
        )
    empty = np.flatnonzero(source.class_counts == 0)
    if len(empty):
        raise DataError(
            f"a sampler that draws by class for {source!r} without a sample of class "
            f"{source.class_names[empty[0]]!r} ({len(empty)} of {len(source.class_names)} classes have none)",
            expected="at least one sample of each class",
            fix="split the data so that every part for training has samples of it, or drop the class from class_names",
        )


def keras_readers(workers: int, use_multiprocessing: bool) -> ArgumentError:
    return ArgumentError(
        f"workers={workers}, use_multiprocessing={use_multiprocessing}",
        expected="workers=1 and use_multiprocessing=False, because Keras' own readers neither keep the order of "
        "batches nor stop with fit",
        fix="drop these arguments; use prefetch= to read ahead in a thread, or processes= for worker processes",
    )


def checked_shard(shard: tuple[int, int], batch_size: int) -> tuple[int, int]:
    try:
        index, count = (operator.index(number) for number in shard)
    except (TypeError, ValueError):
        index, count = -1, 0
    if not 0 <= index < count <= batch_size:
        raise ArgumentError(
            f"shard={shard!r} with batch_size={batch_size}",
            expected="(index, count) with 0 <= index < count <= batch_size",
            fix="number the shards from 0, and pass the size of the global batch as batch_size",
        )
    return index, count


def steps_of(size: int, batch_size: int, shards: int, *, drop_remainder: bool) -> int:
    """Return the number of batches of an epoch of `size` samples.

    Raises:
        ArgumentError: If the epoch has no batch, or a batch has fewer samples than shards.
    """
    whole, rest = divmod(size, batch_size)
    steps = whole + (rest > 0 and not drop_remainder)
    if steps == 0:
        raise ArgumentError(
            f"an epoch of {size} samples in batches of {batch_size}"
            + (" with drop_remainder=True" if drop_remainder else ""),
            expected="at least one batch per epoch",
            fix="use a smaller batch_size, or a source with more samples",
        )
    if steps > whole and rest < shards:
        raise ArgumentError(
            f"a last batch of {rest} samples for {shards} shards",
            expected="at least one sample for each shard in each batch",
            fix="pass drop_remainder=True, or a different batch_size",
        )
    return steps
