"""Augmentations that move readings in time: each resamples a record at other steps, linearly interpolated."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tailfit.arguments import checked_number, whole_number
from tailfit.augment.base import Augmentation
from tailfit.augment.values import SmoothWarp, smooth_curves
from tailfit.errors import ArgumentError

__all__ = ["Permutation", "TimeWarp", "WindowSlice", "WindowWarp"]

_SLOWEST = 0.05  # a speed of time that is kept above 0, so that time never runs back


@dataclass(frozen=True, kw_only=True)
class TimeWarp(SmoothWarp):
    """Let time run faster and slower along a smooth random curve; a record keeps its first and its last reading.

    Args:
        sigma: Standard deviation of the speed of time at the knots, around 1.
        knots: Number of knots between the first and the last step.
        share, only_repeats: See `Augmentation`.
    Source: Um et al. 2017; Iwana & Uchida 2021, section 2.1.9.

    >>> x = np.arange(4.0).reshape(1, 4, 1)
    >>> TimeWarp(sigma=0.0)((x,), np.random.default_rng(0))[0].ravel().round(6).tolist()
    [0.0, 1.0, 2.0, 3.0]
    """

    def changed(self, x: NDArray[Any], y: Any, rng: np.random.Generator) -> NDArray[Any]:
        """Return the warped records."""
        steps = x.shape[1]
        if steps < 2:
            return x
        at_knots = rng.normal(1, self.sigma, (len(x), self.knots + 2))
        speed = np.maximum(at_knots @ smooth_curves(steps, self.knots).T, _SLOWEST)
        passed = np.cumsum((speed[:, 1:] + speed[:, :-1]) / 2, axis=1)
        positions = np.zeros((len(x), steps))
        positions[:, 1:] = passed / passed[:, -1:] * (steps - 1)
        return resampled(x, positions)


@dataclass(frozen=True, kw_only=True)
class WindowSlice(Augmentation):
    """Cut a random window out of each record, and stretch it to the record's length.

    Args:
        size: Length of the window, as a share of the record's, in (0, 1].
        share, only_repeats: See `Augmentation`.
    Source: Le Guennec, Malinowski & Tavenard 2016; Iwana & Uchida 2021, section 2.1.6.

    >>> x = np.arange(5.0).reshape(1, 5, 1)
    >>> WindowSlice(size=0.6)((x,), np.random.default_rng(0))[0].ravel().round(2).tolist()
    [0.54, 1.04, 1.54, 2.04, 2.54]
    """

    size: float = 0.9

    def __post_init__(self) -> None:
        super().__post_init__()
        checked_number(self.size, "size", above=0, most=1, fix="pass size=0.5, for example")

    def changed(self, x: NDArray[Any], y: Any, rng: np.random.Generator) -> NDArray[Any]:
        """Return the stretched windows."""
        last = x.shape[1] - 1
        length = max(round(self.size * x.shape[1]) - 1, 0)
        start = rng.random((len(x), 1)) * (last - length)
        return resampled(x, start + np.linspace(0, length, x.shape[1]))


@dataclass(frozen=True, kw_only=True)
class WindowWarp(Augmentation):
    """Make a random window of each record faster or slower, and resample the whole to the record's length.

    Args:
        size: Length of the window, as a share of the record's, in (0, 1].
        scales: Factors of the window's length; one is drawn for each record.
        share, only_repeats: See `Augmentation`.
    Source: Rashid & Louis 2019, Window-Warping; Iwana & Uchida 2021, section 2.1.8.

    >>> x = np.arange(5.0).reshape(1, 5, 1)
    >>> WindowWarp(size=0.5, scales=[1.0])((x,), np.random.default_rng(0))[0].ravel().round(6).tolist()
    [0.0, 1.0, 2.0, 3.0, 4.0]
    """

    size: float = 0.1
    scales: tuple[float, ...] = (0.5, 2.0)

    def __post_init__(self) -> None:
        super().__post_init__()
        checked_number(self.size, "size", above=0, most=1, fix="pass size=0.5, for example")
        if not len(self.scales):
            raise ArgumentError("scales=()", expected="one or more factors > 0", fix="pass scales=(0.5, 2.0)")
        for scale in self.scales:
            checked_number(scale, "scales", above=0, fix="pass scales=(0.5, 2.0)")

    def changed(self, x: NDArray[Any], y: Any, rng: np.random.Generator) -> NDArray[Any]:
        """Return the warped records."""
        last = x.shape[1] - 1
        length = self.size * last
        start = rng.random(len(x)) * (last - length)
        scale = rng.choice(np.asarray(self.scales, dtype=np.float64), len(x))
        whole = last + (scale - 1) * length  # duration after the window was stretched
        times = np.linspace(0, 1, x.shape[1]) * whole[:, None]
        begin, end = start[:, None], (start + scale * length)[:, None]
        inside = start[:, None] + (times - begin) / scale[:, None]
        after = times - ((scale - 1) * length)[:, None]
        return resampled(x, np.where(times < begin, times, np.where(times < end, inside, after)))


@dataclass(frozen=True, kw_only=True)
class Permutation(Augmentation):
    """Cut each record into segments of random length, and shuffle them.

    It destroys what depends on the order of events, so use it for records that are stationary.

    Args:
        segments: Largest number of segments; a record is cut into 1 to so many.
        share, only_repeats: See `Augmentation`.
    Source: Um et al. 2017; Iwana & Uchida 2021, section 2.1.5.

    >>> x = np.arange(6.0).reshape(1, 6, 1)
    >>> Permutation(segments=3)((x,), np.random.default_rng(0))[0].ravel().tolist()
    [2.0, 3.0, 4.0, 5.0, 0.0, 1.0]
    """

    segments: int = 5

    def __post_init__(self) -> None:
        super().__post_init__()
        whole_number("segments", self.segments, least=1)

    def changed(self, x: NDArray[Any], y: Any, rng: np.random.Generator) -> NDArray[Any]:
        """Return the records with shuffled segments."""
        n, steps, _ = x.shape
        cuts = rng.integers(0, self.segments, (n, 1))  # number of cuts of each record
        order = np.argsort(np.argsort(rng.random((n, max(steps - 1, 0))), axis=1), axis=1)
        is_cut = np.zeros((n, steps), dtype=bool)
        is_cut[:, 1:] = order < cuts
        segment = np.cumsum(is_cut, axis=1)
        rank = rng.random((n, self.segments))
        key = np.take_along_axis(rank, np.minimum(segment, self.segments - 1), axis=1)
        return np.take_along_axis(x, np.argsort(key, axis=1, kind="stable")[..., None], axis=1)


def resampled(x: NDArray[Any], positions: NDArray[np.float64]) -> NDArray[Any]:
    """Return records `[n, steps, channels]` at positions `[n, steps]` in steps, linearly interpolated.

    A missing reading next to a position makes the result missing, unless it has weight 0.
    """
    last = x.shape[1] - 1
    positions = np.clip(positions, 0, last)
    lower = np.minimum(positions.astype(np.int64), max(last - 1, 0))
    weight = (positions - lower)[..., None]
    first = np.take_along_axis(x, lower[..., None], axis=1)
    second = np.take_along_axis(x, np.minimum(lower + 1, last)[..., None], axis=1)
    between = first * (1 - weight) + second * weight
    return np.where(weight == 0, first, np.where(weight == 1, second, between))
