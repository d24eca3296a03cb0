"""`Batches` as other libraries' data sets, batch by batch. Imports them when called only."""

from collections.abc import Iterator
from typing import Any

from tailfit.arguments import whole_number
from tailfit.data.feeding.batches import Batches
from tailfit.data.records.trees import map_tree
from tailfit.extras import needed

__all__ = ["to_grain", "to_tf_dataset", "to_torch"]


def to_grain(batches: Batches, epoch: int = 0) -> Any:
    """A `grain.MapDataset` whose elements are an epoch's batches; those of `.repeat(n)` go on through n epochs.

    Its length is known, and weights are in the batches, as `Batches` was told them. Keras takes it for a set of unknown
    length that begins anew with each pass: `fit(to_grain(batches).repeat(), steps_per_epoch=len(batches), epochs=n)`.

    Needs grain. Its reader threads read several batches at a time, so a `transform` may run in several threads.

    Args:
        batches: What to read.
        epoch: Of the first pass.
    Raises:
        PackageError: if grain is not installed.
    """
    grain = needed("grain", "grain", "to_grain()")
    whole_number("epoch", epoch)

    class Steps(grain.MapDataset):  # type: ignore[name-defined]
        def __len__(self) -> int:
            return len(batches)

        def __getitem__(self, index: Any) -> Any:
            if isinstance(index, slice):
                return self.slice(index)
            # Past the end grain counts on, as `repeat` has it.
            later, step = divmod(index, len(batches))
            return batches.read(epoch + later, step)

    return Steps()


def to_tf_dataset(batches: Batches, epoch: int = 0) -> Any:
    """A `tf.data.Dataset` of an epoch; each further pass over it is the next epoch.

    Needs TensorFlow, and therefore a process that has not imported PyTorch.

    Args:
        batches: What to read; its `transform` must keep shapes and types.
        epoch: Of the first pass.
    """
    import tensorflow as tf

    # What a batch looks like; all but the number of samples, which a last batch may have fewer of.
    example = batches.read(epoch, 0)
    signature = map_tree(lambda leaf: tf.TensorSpec((None, *leaf.shape[1:]), leaf.dtype), example)
    dataset = tf.data.Dataset.from_generator(_Passes(batches, epoch), output_signature=signature)
    return dataset.apply(tf.data.experimental.assert_cardinality(len(batches)))


def to_torch(batches: Batches, epoch: int = 0) -> Any:
    """A `torch.utils.data.DataLoader` of an epoch's batches as tensors; each further pass is the next epoch.

    It reads in the calling process: `Batches` reads ahead by itself.

    Args:
        batches: What to read; text and dates, which PyTorch has no tensors of, are refused by it.
        epoch: Of the first pass.
    """
    import torch

    passes = _Passes(batches, epoch)

    class Steps(torch.utils.data.IterableDataset):  # type: ignore[type-arg]
        def __iter__(self) -> Iterator[Any]:
            return passes()

        def __len__(self) -> int:
            return len(batches)

    return torch.utils.data.DataLoader(Steps(), batch_size=None)


class _Passes:
    """Iterators over the batches; a pass that was read to its end makes the next epoch the current one.

    One that was only begun does not: Keras looks at a first batch before it trains.
    """

    def __init__(self, batches: Batches, epoch: int) -> None:
        self.batches, self.epoch = batches, epoch

    def __call__(self) -> Iterator[Any]:
        yield from self.batches.iterate(self.epoch)
        self.epoch += 1
