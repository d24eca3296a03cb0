"""Samples that stay on the device during a `fit`: a batch consists of the positions of its samples among them."""

from collections.abc import Callable, Generator
from typing import Any

import numpy as np

from tailfit.data import Batches

__all__ = ["Held", "Positions"]


class Positions(np.ndarray):
    """The positions of a batch's samples, `int32[b]`; an array, because Keras' loops pass arrays on unchanged.

    Attributes:
        samples: The samples that they refer to, on the device: a batch of all samples of the source.
    """

    samples: Any = None


class Held:
    """The samples of a `Batches` on the device.

    Args:
        samples: All samples, see `tailfit.data.feeding.whole`.
        put: Function that moves an array to the device.
    """

    def __init__(self, samples: tuple[Any, ...], put: Callable[[Any], Any]) -> None:
        self.samples, self.put = samples, put

    def positions(self, batches: Batches, epoch: int, start: int) -> Generator[Positions]:
        """Yield the positions of the samples of each batch of an epoch from a step on."""
        samples = self.samples
        if batches.class_weight_schedule is not None:
            samples = (*samples[:-1], self.put(np.asarray(batches.weights_at(epoch), np.float32)))
        for indices in batches.iterate_indices(epoch, start):
            positions = indices.astype(np.int32).view(Positions)
            positions.samples = samples
            yield positions
