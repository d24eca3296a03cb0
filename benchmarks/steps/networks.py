"""What every row trains: networks, their first weights and their data, in NumPy alone."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

BATCH = 64
CLASSES = 10
ALPHA = 0.2  # of Mixup

Layer = tuple[str] | tuple[str, int] | tuple[str, int, int]


@dataclass(frozen=True)
class Network:
    """`layers`: ("conv", filters, width) and ("dense", units), a relu after both; ("pool",) halves, ("mean",) is over
    positions. A Dense of `CLASSES` logits ends it.
    """

    name: str
    shape: tuple[int, ...]
    layers: tuple[Layer, ...]

    def weights(self) -> list[np.ndarray]:
        """Kernel and bias of each layer in Keras' layout: Glorot uniform and zeros."""
        rng, channels, space = np.random.default_rng(1), self.shape[-1], len(self.shape) - 1
        made: list[np.ndarray] = []
        for kind, *sizes in (*self.layers, ("dense", CLASSES)):
            if not sizes:
                continue
            window = (sizes[1],) * space if kind == "conv" else ()
            field = math.prod(window)
            limit = math.sqrt(6 / (field * (channels + sizes[0])))
            made.append(rng.uniform(-limit, limit, (*window, channels, sizes[0])).astype("float32"))
            made.append(np.zeros(sizes[0], "float32"))
            channels = sizes[0]
        return made

    def data(self, count: int) -> tuple[np.ndarray, np.ndarray]:
        """Noise, and the classes that a linear map of its mean over positions would give them: there to be learnt."""
        rng = np.random.default_rng(0)
        x = rng.standard_normal((count, *self.shape), dtype="float32")
        seen = x if len(self.shape) == 1 else x.reshape(count, -1)[:, :96]
        y = (seen @ rng.standard_normal((seen.shape[1], CLASSES), dtype="float32")).argmax(axis=1).astype("int32")
        return x, y


# One epoch over the first `count` samples, shuffled or as they come: (seconds, mean loss).
Epoch = Callable[[int, bool], tuple[float, float]]


@dataclass(frozen=True)
class Row:
    """`make` builds it, untrained; `part`: its timed epochs run 1 / part of the steps, and count part times.

    `extra` rows, which have no bound, are not run with Mixup.
    """

    name: str
    make: Callable[[], Epoch]
    part: int = 1
    extra: bool = False


@dataclass(frozen=True)
class Job:
    """What a row is made of: the same for all of them."""

    network: Network
    x: np.ndarray
    y: np.ndarray
    mixup: bool = False
    batch: int = BATCH
    optimizer: str = "adam"

    def batches(self, count: int, shuffle: bool) -> np.ndarray:
        """The samples of each step, for the loops written by hand."""
        order = np.random.default_rng().permutation(count) if shuffle else np.arange(count)
        return order.reshape(-1, self.batch)

    def take(self, chosen: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """One batch, for the loops written by hand."""
        return self.x.take(chosen, axis=0), self.y.take(chosen)

    def shares(self, steps: int) -> np.ndarray:
        """Mixup's share of the first partner at each step; the second partner is the batch in reverse."""
        return np.random.default_rng().beta(ALPHA, ALPHA, steps).astype("float32")


NETWORKS = {
    network.name: network
    for network in (
        Network("MLP 784-64-64-10", (784,), (("dense", 64), ("dense", 64))),
        Network(
            "1-D convnet on 128x12",
            (128, 12),
            (("conv", 32, 5), ("pool",), ("conv", 64, 5), ("mean",)),
        ),
        Network(
            "2-D convnet on 28x28x1",
            (28, 28, 1),
            (("conv", 16, 3), ("pool",), ("conv", 32, 3), ("mean",)),
        ),
    )
}
