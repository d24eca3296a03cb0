"""Statistics of the windows of Tennessee Eastman, as inputs of a network or of a classifier without steps.

A fault moves a sensor by a fraction of its usual deviation or by a hundred times that. On a linear scale the largest
faults decide the standardisation, and the small ones disappear. So all statistics are on a logarithmic scale: for each
sensor the level with its sign, the size of the level, the deviation within the window, and the mean change of a step.
"""

from dataclasses import dataclass

import numpy as np
import tep

import tailfit

_SMALL = 0.05  # of the deviation over the training part: what is added before the logarithm


def signed_log(x: np.ndarray) -> np.ndarray:
    return np.sign(x) * np.log1p(np.abs(x))


def statistics_of(x: np.ndarray) -> np.ndarray:
    """Windows `(n, steps, sensors)` to statistics `(n, 4 * sensors)`."""
    level, change = x.mean(axis=1), np.abs(np.diff(x, axis=1)).mean(axis=1)
    sizes = [np.log(each + _SMALL) for each in (np.abs(level), x.std(axis=1), change)]
    return np.concatenate([signed_log(level), *sizes], axis=1)


@dataclass(frozen=True)
class Inputs:
    """Readings on a logarithmic scale and statistics, standardised by the training windows."""

    train: np.ndarray
    readings: bool

    def of(self, x: np.ndarray) -> np.ndarray:
        """Statistics `(n, 4 * sensors)`; with the readings `(n, steps, 5 * sensors)`, statistics at every step."""
        found = standardised(statistics_of(x), statistics_of(self.train))
        if not self.readings:
            return found
        readings = standardised(signed_log(x), signed_log(self.train))
        return np.concatenate([readings, np.repeat(found[:, None], x.shape[1], axis=1)], axis=2)


def standardised(x: np.ndarray, train: np.ndarray) -> np.ndarray:
    axes = tuple(range(x.ndim - 1))
    return ((x - train.mean(axis=axes)) / (train.std(axis=axes) + 1e-6)).astype("float32")


def parts(data: tep.Path, seed: int, *, readings: bool, cut: bool = True) -> tuple[tailfit.data.Arrays, tuple, tuple]:
    """The parts of `tep.parts` with these inputs."""
    source, *scored = tep.parts(data, seed, cut=cut)
    train = source.read(np.arange(len(source)))
    inputs = Inputs(train, readings)
    seen = tailfit.data.Arrays(inputs.of(train), source.labels, class_names=list(source.class_names))
    return seen, *((inputs.of(x), y) for x, y in scored)
