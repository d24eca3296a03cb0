"""`Batches` as data sets of other libraries, which are imported only when these functions are called."""

from collections.abc import Iterator
from typing import Any

from tailfit.arguments import whole_number
from tailfit.data.feeding.batches import Batches
from tailfit.data.records.trees import map_tree
from tailfit.extras import needed

__all__ = ["to_grain", "to_tf_dataset", "to_torch"]


def to_grain(batches: Batches, epoch: int = 0) -> Any:
    """Return a `grain.MapDataset` whose elements are the batches of an epoch; `.repeat(n)` continues through n epochs.

    Batches include the weights passed to `Batches`. Keras does not use the data set's length and starts each pass from
    the beginning, so pass `fit(to_grain(batches).repeat(), steps_per_epoch=len(batches), epochs=n)`.

    Grain's reader threads read several batches concurrently, so a `transform` may run in several threads.

    Args:
        batches: The batches.
        epoch: Epoch of the first pass.
    Raises:
        PackageError: If grain is not installed.

    >>> import numpy as np, tailfit
    >>> batches = tailfit.Batches(tailfit.data.Arrays(np.arange(3.0)), 2, tailfit.samplers.Sequential())
    >>> [x.tolist() for (x,) in to_grain(batches)]
    [[0.0, 1.0], [2.0]]
    """
    grain = needed("grain", "grain", "to_grain()")
    whole_number("epoch", epoch)

    class Steps(grain.MapDataset):  # type: ignore[name-defined]
        def __len__(self) -> int:
            return len(batches)

        def __getitem__(self, index: Any) -> Any:
            if isinstance(index, slice):
                return self.slice(index)
            # `repeat` continues to count indices past the end.
            passes, step = divmod(index, len(batches))
            return batches.read(epoch + passes, step)

    return Steps()


def to_tf_dataset(batches: Batches, epoch: int = 0) -> Any:
    """Return a `tf.data.Dataset` of an epoch; each further pass over it is the next epoch.

    It requires TensorFlow, and therefore a process that has not imported PyTorch.

    Args:
        batches: The batches; their `transform` must keep shapes and dtypes.
        epoch: Epoch of the first pass.

    >>> import numpy as np, tailfit
    >>> batches = tailfit.Batches(tailfit.data.Arrays(np.arange(3.0)), 2, tailfit.samplers.Sequential())
    >>> [x.numpy().tolist() for (x,) in to_tf_dataset(batches)]  # doctest: +SKIP
    [[0.0, 1.0], [2.0]]
    """
    import tensorflow as tf

    # The first axis is None, because the last batch may have fewer samples.
    example = batches.read(epoch, 0)
    signature = map_tree(lambda leaf: tf.TensorSpec((None, *leaf.shape[1:]), leaf.dtype), example)
    dataset = tf.data.Dataset.from_generator(_Passes(batches, epoch), output_signature=signature)
    return dataset.apply(tf.data.experimental.assert_cardinality(len(batches)))


def to_torch(batches: Batches, epoch: int = 0) -> Any:
    """Return a `torch.utils.data.DataLoader` of an epoch's batches as tensors; each further pass is the next epoch.

    It has no worker processes, because `Batches` reads ahead by itself.

    Args:
        batches: The batches. PyTorch refuses text and dates, for which it has no tensors.
        epoch: Epoch of the first pass.

    >>> import numpy as np, tailfit
    >>> batches = tailfit.Batches(tailfit.data.Arrays(np.arange(3.0)), 2, tailfit.samplers.Sequential())
    >>> [x.tolist() for (x,) in to_torch(batches)]  # doctest: +SKIP
    [[0.0, 1.0], [2.0]]
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
    """Iterators over the batches. Only a complete pass advances the epoch: Keras reads a batch before training."""

    def __init__(self, batches: Batches, epoch: int) -> None:
        self.batches, self.epoch = batches, epoch

    def __call__(self) -> Iterator[Any]:
        yield from self.batches.iterate(self.epoch)
        self.epoch += 1
