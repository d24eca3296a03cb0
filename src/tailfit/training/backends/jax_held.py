"""Samples that stay on the device, on JAX: a program gets all of them, and gathers those of its batch."""

from collections.abc import Iterator
from functools import partial
from typing import Any, Final

import jax
import keras
import numpy as np

from tailfit.data import Batches
from tailfit.data.feeding.whole import whole_batch
from tailfit.data.files.memory import available_memory
from tailfit.training.held import Held, Positions

__all__ = ["Picked", "PickedStack", "held", "picked"]

_SHARE: Final = 0.5  # of the free memory that samples may take


@jax.tree_util.register_pytree_node_class
class Picked:
    """A batch that is gathered inside a program: some rows of all samples.

    Args:
        samples: All samples, a batch of arrays on the device.
        positions: The rows, `int32[b]`, or those of several batches, `int32[k, b]`.
    """

    def __init__(self, samples: Any, positions: Any) -> None:
        self.samples, self.positions = samples, positions

    def batch(self) -> Any:
        """Return the rows as a batch."""
        rows = jax.vmap(partial(jax.lax.dynamic_index_in_dim, keepdims=False), in_axes=(None, 0))
        # Gathered once: XLA would repeat it inside each operation that uses the batch.
        batch = jax.tree.map(lambda part: rows(part, self.positions), self.samples)
        return jax.lax.optimization_barrier(batch)  # type: ignore[no-untyped-call]

    def row(self, number: Any) -> "Picked":
        """Return one of several batches."""
        return Picked(self.samples, jax.lax.dynamic_index_in_dim(self.positions, number, keepdims=False))

    def tree_flatten(self) -> tuple[tuple[Any, Any], None]:
        return (self.samples, self.positions), None

    @classmethod
    def tree_unflatten(cls, _: None, parts: tuple[Any, Any]) -> "Picked":
        return cls(*parts)


class PickedStack:
    """Positions of batches, stacked; see `jax_fused._Stack`."""

    def __init__(self, rows: int) -> None:
        self._rows = rows
        self._batches: list[Picked] = []
        self._last: list[Picked] = []

    def row(self, row: int) -> None:
        """Return None: there are no records to read into a row."""

    def put(self, row: int, batch: Picked) -> None:
        self._batches[row:] = [batch]

    def turn(self) -> Picked:
        self._last, self._batches = self._batches, []
        # Rows that were not put are not read, but the program's shape has them.
        positions = np.zeros((self._rows, len(self._last[0].positions)), np.int32)
        positions[: len(self._last)] = [batch.positions for batch in self._last]
        return Picked(self._last[0].samples, positions)

    def last(self, count: int) -> Iterator[Picked]:
        return iter(self._last[:count])


def held(batches: Batches) -> Held | None:
    """Move the samples of a `Batches` to the device; None if they stay where they are."""
    device = jax.local_devices()[0]
    # On a CPU they would be in memory twice, to save a few percent of a small step.
    pays = batches.device is True or (batches.device == "auto" and device.platform != "cpu")
    if not pays or keras.distribution.distribution() is not None:
        return None
    samples = whole_batch(batches, most=_SHARE * _free(device))
    if samples is None or not all(part.dtype.kind in "biuf" for part in jax.tree.leaves(samples)):
        return None

    def put(part: Any) -> Any:
        # JAX narrows 64-bit numbers when it moves a batch; here they are narrowed before, in the same way.
        return jax.device_put(np.asarray(part, jax.dtypes.canonicalize_dtype(part.dtype)), device)

    return Held(jax.tree.map(put, samples), put)


def picked(batch: Any) -> Any:
    """Return positions that Keras' loop passed on as a `Picked`; any other batch unchanged."""
    if isinstance(batch, tuple) and len(batch) == 1 and isinstance(batch[0], Positions):
        return Picked(batch[0].samples, batch[0].view(np.ndarray))
    return batch


def _free(device: Any) -> float:
    stats = device.memory_stats() or {}  # None on a CPU
    if "bytes_limit" in stats:
        return float(stats["bytes_limit"] - stats.get("bytes_in_use", 0))
    return available_memory()
