"""MiniRocket: features of series from fixed kernels, compared with quantiles of their own responses."""

from itertools import combinations
from typing import Any

import keras
import numpy as np
from keras import ops
from numpy.typing import NDArray

from tailfit.arguments import whole_number
from tailfit.errors import ArgumentError

__all__ = ["MiniRocket"]

_SIZE = 9  # steps of a kernel
_THREES = np.array(list(combinations(range(_SIZE), 3)))  # positions of the weights 2 of each kernel; the others are -1
_KERNELS = len(_THREES)
_AT_ONCE = 4096  # steps times biases that are compared at once for each kernel: 1.4 MB per record
_SHORTEST = _SIZE  # steps; shorter series have no dilation


@keras.saving.register_keras_serializable(package="tailfit")
class MiniRocket(keras.layers.Layer):
    """Shares of the steps at which a kernel's response exceeds a bias, for 84 kernels, several dilations and biases.

    The kernels have 9 weights, six of -1 and three of 2, in all 84 orders. Each bias is a quantile of the response to
    one training record, so `adapt` must be called with training records before the layer is used; until then its
    outputs are NaN. Every kernel and dilation uses up to nine randomly chosen channels. The features are standardised
    with their means and deviations over the records of `adapt`. Nothing in the layer is trained.

    Args:
        num_features: Approximate number of features: a multiple of 84, at most this; 9996 by default.
        max_dilations: Largest number of dilations of each kernel.
        seed: Seed of the choice of channels, and of the records that biases are computed from.
        **kwargs: `name`, as in `keras.layers.Layer`.
    Shapes: records `(batch, steps, channels)` with 9 steps or more, to features `(batch, F)` in float32.
    Raises:
        ArgumentError: If a number is too small, or the records do not have this shape.
    Source: Dempster et al. 2021, arXiv:2012.08791, section 3; for several channels, the authors' code. Features that
        are not standardised, `features(x)`, equal theirs for the same channels and biases.

    >>> layer = MiniRocket(num_features=168)
    >>> records = np.random.default_rng(0).normal(size=(20, 30, 2)).astype("float32")
    >>> layer.adapt(records)
    >>> tuple(layer(records).shape)
    (20, 168)
    """

    def __init__(self, num_features: int = 10_000, *, max_dilations: int = 32, seed: int = 0, **kwargs: Any) -> None:
        super().__init__(**{**kwargs, "trainable": False, "dtype": "float32"})
        self.num_features = whole_number("num_features", num_features, least=_KERNELS)
        self.max_dilations = whole_number("max_dilations", max_dilations, least=1)
        self.seed = whole_number("seed", seed)
        self._counts: list[int] = []  # features per kernel, of each dilation
        self._dilations: list[int] = []

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        if len(input_shape) != 3 or (input_shape[1] or 0) < _SHORTEST or not input_shape[2]:
            raise ArgumentError(
                f"records of shape {tuple(input_shape[1:])} for MiniRocket",
                expected=f"records of shape (steps, channels), with {_SHORTEST} steps or more",
                fix="pad the records to one length, or use another network",
            )
        steps, channels = int(input_shape[1] or 0), int(input_shape[2])
        self._dilations, self._counts = dilations_of(steps, self.num_features, self.max_dilations)
        self.channels = channels_of(channels, _KERNELS * len(self._dilations), self.seed)
        count = _KERNELS * sum(self._counts)
        unknown = keras.initializers.Constant(float("nan"))
        self.biases = self.add_weight(name="biases", shape=(count,), initializer=unknown, trainable=False)
        self.mean = self.add_weight(name="mean", shape=(count,), initializer=unknown, trainable=False)
        self.deviation = self.add_weight(name="deviation", shape=(count,), initializer=unknown, trainable=False)

    def adapt(self, records: Any) -> None:
        """Compute the biases, and the means and deviations of the features, from training records.

        Args:
            records: Records `(n, steps, channels)`; a few hundred are enough.
        """
        records = np.asarray(records, np.float32)
        if not self.built:
            super().__call__(keras.Input(records.shape[1:]))
        self.biases.assign(self._biases_from(records))
        parts = [ops.convert_to_numpy(self.features(records[at : at + 32])) for at in range(0, len(records), 32)]
        features = np.concatenate(parts)
        self.mean.assign(features.mean(axis=0))
        # Features are shares of the steps: a deviation below one step in one record is that of a constant.
        self.deviation.assign(np.maximum(features.std(axis=0), 1 / records.shape[1]))

    def _biases_from(self, records: NDArray[np.float32]) -> NDArray[np.float32]:
        rng = np.random.default_rng([self.seed, 1])
        golden = (np.sqrt(5) + 1) / 2  # a sequence of low discrepancy
        quantiles = (np.arange(1, _KERNELS * sum(self._counts) + 1) * golden % 1).astype(np.float32)
        biases: NDArray[np.float32] = np.empty_like(quantiles)
        first = 0
        for number, (dilation, count) in enumerate(zip(self._dilations, self._counts, strict=True)):
            for kernel in range(_KERNELS):
                own = self.channels[number * _KERNELS + kernel]
                record = records[rng.integers(len(records))] * own
                padded = np.pad(record.sum(axis=1), (_SIZE // 2 * dilation,) * 2)
                shifts = [padded[tap * dilation : tap * dilation + len(record)] for tap in range(_SIZE)]
                response = 3 * sum(shifts[tap] for tap in _THREES[kernel]) - sum(shifts)
                biases[first : first + count] = np.quantile(response, quantiles[first : first + count])
                first += count
        return biases

    def features(self, x: Any) -> Any:
        """Return the features of records without standardisation, in [0, 1]."""
        x = ops.cast(x, "float32")
        first, found = 0, []
        for number, (dilation, count) in enumerate(zip(self._dilations, self._counts, strict=True)):
            weights = np.full((_SIZE, 1, _KERNELS), -1.0, np.float32)
            weights[_THREES.T, 0, np.arange(_KERNELS)] = 2.0
            weights = weights * self.channels[number * _KERNELS : (number + 1) * _KERNELS].T
            response = ops.conv(x, ops.convert_to_tensor(weights), padding="same", dilation_rate=dilation)
            last = first + _KERNELS * count
            biases = ops.reshape(self.biases[first:last], (_KERNELS, count))
            found.append(_shares(response, biases, count, _SIZE // 2 * dilation, number % 2))
            first = last
        return ops.concatenate(found, axis=1)

    def call(self, inputs: Any) -> Any:
        return (self.features(inputs) - self.mean) / self.deviation

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        _, counts = dilations_of(int(input_shape[1] or 0), self.num_features, self.max_dilations)
        return (input_shape[0], _KERNELS * sum(counts))

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "num_features": self.num_features,
            "max_dilations": self.max_dilations,
            "seed": self.seed,
        }


def _shares(response: Any, biases: Any, count: int, padding: int, parity: int) -> Any:
    """Return the shares of one dilation, `(batch, 84 * count)`; every second kernel leaves out the padded ends."""
    steps = response.shape[1]
    whole = np.arange(_KERNELS) % 2 == parity  # the authors: (dilation + kernel) even
    inner = ((np.arange(steps) >= padding) & (np.arange(steps) < steps - padding)).astype(np.float32)
    weights = np.where(whole, 1 / steps, inner[:, None] / max(inner.sum(), 1)).astype(np.float32)
    response, weights = ops.expand_dims(response, -1), ops.expand_dims(ops.convert_to_tensor(weights), -1)
    # Several biases at a time: one by one, a program would have 10,000 / 84 operations, which take long to compile.
    size = max(1, _AT_ONCE // steps)
    found = [
        ops.sum(ops.cast(response > biases[:, start : start + size], "float32") * weights, axis=1)
        for start in range(0, count, size)
    ]
    return ops.reshape(ops.concatenate(found, axis=2), (-1, _KERNELS * count))


def dilations_of(steps: int, num_features: int, max_dilations: int) -> tuple[list[int], list[int]]:
    """Return the dilations, and for each the number of features of every kernel.

    >>> dilations_of(30, 168, 32)
    ([1, 3], [1, 1])
    """
    per_kernel = num_features // _KERNELS
    most = min(per_kernel, max_dilations)
    exponents = np.linspace(0, np.log2((steps - 1) / (_SIZE - 1)), most)
    dilations, counts = np.unique((2.0**exponents).astype(int), return_counts=True)
    counts = (counts * (per_kernel / most)).astype(int)
    for number in range(per_kernel - int(counts.sum())):
        counts[number % len(counts)] += 1
    return dilations.tolist(), counts.tolist()


def channels_of(channels: int, number: int, seed: int) -> NDArray[np.float32]:
    """Return which channels each kernel and dilation uses, 0 or 1, `(number, channels)`."""
    rng = np.random.default_rng([seed, 0])
    counts = (2 ** rng.uniform(0, np.log2(min(channels, _SIZE) + 1), number)).astype(int)
    chosen = np.zeros((number, channels), np.float32)
    for row, count in zip(chosen, counts, strict=True):
        row[rng.choice(channels, count, replace=False)] = 1
    return chosen
