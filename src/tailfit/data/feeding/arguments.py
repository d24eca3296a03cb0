"""Checks of what is passed to `Batches`."""

import operator
from collections.abc import Mapping
from typing import Any

import numpy as np

from tailfit.data.source import Source
from tailfit.errors import ArgumentError, DataError
from tailfit.samplers import Sampler

__all__ = ["check_arguments", "checked_shard", "keras_readers", "refuse_empty_classes", "refuse_ragged"]


def check_arguments(source: Any, sampler: Any, transform: Any, *, on_error: Any, flags: Mapping[str, Any]) -> None:
    """Raise an `ArgumentError` for arguments of `Batches` of another kind than it takes."""
    if not isinstance(source, Source):
        raise ArgumentError(
            f"source of type {type(source).__name__}",
            expected="a tailfit.data.Source",
            fix="wrap arrays: tailfit.data.Arrays(x, y)",
        )
    if not len(source):
        raise ArgumentError("a source without a sample", expected="one sample or more", fix="check its files")
    if on_error not in ("raise", "skip"):
        raise ArgumentError(f"on_error={on_error!r}", expected="'raise' or 'skip'", fix="leave it out")
    if not (sampler is None or isinstance(sampler, Sampler)):
        raise ArgumentError(
            f"sampler={sampler!r}", expected="a sampler of tailfit.samplers", fix="pass one made, e.g. Shuffle()"
        )
    if not (transform is None or callable(transform)):
        raise ArgumentError(
            f"transform={transform!r}", expected="transform(batch, rng) -> batch", fix="pass a function"
        )
    for name, flag in flags.items():
        if not isinstance(flag, bool | np.bool_):
            raise ArgumentError(f"{name}={flag!r}", expected="True or False", fix="leave it out")
    if source.ragged and transform is None:
        raise refuse_ragged(source)


def refuse_ragged(source: Source) -> ArgumentError:
    return ArgumentError(
        f"{source!r} with records of different length",
        expected="records of one length in a batch",
        fix="pad them: Batches(tailfit.data.Mapped(source, tailfit.data.Pad()), ...), or transform=Pad().transform",
    )


def refuse_empty_classes(source: Source) -> None:
    if source.labels is None:
        raise ArgumentError(
            f"a sampler that draws by class, for the unlabelled {source!r}",
            expected="a source with labels",
            fix="pass labels to the source, or use samplers.Shuffle()",
        )
    empty = np.flatnonzero(source.class_counts == 0)
    if len(empty):
        raise DataError(
            f"a sampler that draws by class, for {source!r} without a sample of class "
            f"{source.class_names[empty[0]]!r} ({len(empty)} of {len(source.class_names)} classes have none)",
            expected="at least one sample of each class",
            fix="split the data so that every part trained on has one, or leave the class out of class_names",
        )


def keras_readers(workers: int, use_multiprocessing: bool) -> ArgumentError:
    return ArgumentError(
        f"workers={workers}, use_multiprocessing={use_multiprocessing}",
        expected="workers=1, use_multiprocessing=False: Keras' readers neither keep the order nor end with fit",
        fix="leave them out; prefetch= reads ahead in a thread, processes= in processes",
    )


def checked_shard(shard: tuple[int, int], batch_size: int) -> tuple[int, int]:
    try:
        index, count = (operator.index(number) for number in shard)
    except (TypeError, ValueError):
        index, count = -1, 0
    if not 0 <= index < count <= batch_size:
        raise ArgumentError(
            f"shard={shard!r} of batches of {batch_size}",
            expected="(index, count) with 0 <= index < count <= batch_size",
            fix="number the shards from 0; batch_size is that of the global batch",
        )
    return index, count
