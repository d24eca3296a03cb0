"""Batches of arrays for `fit` on torch: in the order in which Keras' loader reads them, with less Python a batch."""

from collections.abc import Iterator, Sequence
from typing import Any, Final

import keras
import numpy as np
import torch
from keras.src.trainers.data_adapters.array_data_adapter import ArrayDataAdapter
from keras.src.trainers.data_adapters.array_slicing import NumpySliceable, Sliceable

__all__ = ["read_arrays_directly"]

# Of these types, a tensor shares the memory of an array.
_SHARED: Final = {"float16", "float32", "float64", "int8", "int16", "int32", "int64", "uint8", "bool"}


def read_arrays_directly(iterator: Any) -> None:
    """Make a Keras epoch iterator over arrays read batches by itself, if it would use a loader of torch."""
    if iterator is None or "_get_iterator" in vars(iterator) or type(iterator.data_adapter) is not ArrayDataAdapter:
        return
    adapter = iterator.data_adapter
    iterator._get_iterator = lambda: _Batches(adapter.get_torch_dataloader())


class _Batches:
    def __init__(self, loader: Any) -> None:
        self._loader = loader

    def __iter__(self) -> Iterator[Any]:
        # The loader's own iterator draws a number from torch's generator when it is created; the order is drawn later.
        order = iter(self._loader)._sampler_iter
        dataset = self._loader.dataset
        return map(_direct(dataset.array) or dataset.__getitems__, order)


def _direct(arrays: Any) -> Any:
    """Return a function that reads the rows of a batch; None if only Keras can read such arrays."""
    parts = keras.tree.flatten(arrays)
    if torch.get_default_device().type != "cpu" or keras.src.backend.torch.core.get_device() != "cpu":
        return None
    if not all(part is None or _shared(part) for part in parts):
        return None
    wholes = [None if part is None else torch.from_numpy(part.array) for part in parts]
    flat = type(arrays) is tuple and len(arrays) == len(parts) and all(map(_is_leaf, arrays))

    def read(indices: Sequence[int]) -> Any:
        rows = torch.tensor(indices)
        batch = [None if whole is None else whole.index_select(0, rows) for whole in wholes]
        return tuple(batch) if flat else keras.tree.pack_sequence_as(arrays, batch)

    return read


def _is_leaf(part: Any) -> bool:
    return part is None or isinstance(part, Sliceable)


def _shared(part: Any) -> bool:
    if type(part) is not NumpySliceable or not isinstance(part.array, np.ndarray) or not part.array.flags.writeable:
        return False
    return part.array.dtype.name in _SHARED and part.array.dtype.isnative and part.array.flags.c_contiguous
