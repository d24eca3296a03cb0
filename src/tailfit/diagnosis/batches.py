"""Reading of batches from whatever `fit` takes as data, without changing it: arrays, data sets, loaders."""

import itertools
import random
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal

import keras
import numpy as np
from numpy.typing import NDArray

__all__ = ["Batch", "Kind", "first_rows", "generators_restored", "kind_of", "last_of", "read", "rows"]

Kind = Literal["nothing", "arrays", "PyDataset", "tf.data.Dataset", "torch DataLoader", "grain", "generator", "adapter"]


@dataclass(frozen=True)
class Batch:
    """A batch as NumPy: `x`, `y` and `sample_weight` are arrays, nested structures of arrays, or None."""

    x: Any
    y: Any = None
    sample_weight: Any = None

    @property
    def labels(self) -> NDArray[Any] | None:
        """The labels of the only output; None without labels, or with several outputs."""
        return self.y if isinstance(self.y, np.ndarray) else None

    @property
    def weights(self) -> NDArray[Any] | None:
        """The sample weights of the only output; None without weights, or with several outputs."""
        return self.sample_weight if isinstance(self.sample_weight, np.ndarray) else None


def kind_of(x: Any) -> Kind | None:
    """Return the kind of data that `fit` would read an object as; None if Keras would refuse it."""
    if x is None:
        return "nothing"
    if isinstance(x, keras.utils.PyDataset):
        return "PyDataset"
    if hasattr(x, "get_numpy_iterator") and hasattr(x, "num_batches"):
        return "adapter"
    for parent in type(x).__mro__:
        package, name = parent.__module__.partition(".")[0], parent.__name__
        if package == "tensorflow" and name in ("DatasetV2", "DistributedDataset"):
            return "tf.data.Dataset"
        if package == "torch" and name == "DataLoader":
            return "torch DataLoader"
        if package == "grain" and name in ("MapDataset", "IterDataset", "DataLoader"):
            return "grain"
    if hasattr(x, "gi_code"):
        return "generator"
    leaves = keras.tree.flatten(x)
    return "arrays" if leaves and all(hasattr(leaf, "shape") and hasattr(leaf, "dtype") for leaf in leaves) else None


@contextmanager
def generators_restored() -> Iterator[None]:
    """Restore the global random number generators of Python, NumPy and (if it is imported) torch afterwards."""
    python, numpy = random.getstate(), np.random.get_state()  # noqa: NPY002
    torch = sys.modules.get("torch")
    other = torch.get_rng_state() if torch is not None else None
    try:
        yield
    finally:
        random.setstate(python)
        np.random.set_state(numpy)  # noqa: NPY002
        if torch is not None:
            torch.set_rng_state(other)


def rows(tree: Any, start: int, stop: int) -> Any:
    """Return rows of all arrays of a structure, as NumPy; None stays None."""
    return None if tree is None else keras.tree.map_structure(lambda leaf: _numpy(leaf[start:stop]), tree)


def first_rows(tree: Any, count: int) -> Any:
    """Return the first rows of all arrays of a structure, as NumPy."""
    return rows(tree, 0, count)


def read(x: Any, kind: Kind | None, count: int) -> list[Batch]:
    """Return the first batches of a data set; none of a generator or an adapter, which reading would advance.

    Global random number generators are restored, and a `PyDataset` is read by index, without its workers.
    """
    with generators_restored():
        if kind == "PyDataset":
            length = x.num_batches
            return [_batch(x[index]) for index in range(count if length is None else min(count, length))]
        if kind in ("tf.data.Dataset", "torch DataLoader", "grain"):
            return [_batch(each) for each in itertools.islice(iter(x), count)]
    return []


def last_of(x: Any) -> Any:
    """Return the last batch of a `PyDataset` as it is; None if its number of batches is not known."""
    length = x.num_batches
    if not length:
        return None
    with generators_restored():
        return x[length - 1]


def _batch(data: Any) -> Batch:
    parts = keras.utils.unpack_x_y_sample_weight(tuple(data) if isinstance(data, list) else data)
    return Batch(*(None if part is None else keras.tree.map_structure(_numpy, part) for part in parts))


def _numpy(value: Any) -> Any:
    return value if isinstance(value, np.ndarray) else np.asarray(keras.ops.convert_to_numpy(value))
