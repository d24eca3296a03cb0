"""Augmentations that change readings, and keep their times."""

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tailfit.arguments import checked_number, whole_number
from tailfit.augment.base import Augmentation

__all__ = ["ChannelDropout", "Jitter", "MagnitudeWarp", "Scaling", "SmoothWarp", "smooth_curves"]


@dataclass(frozen=True, kw_only=True)
class Jitter(Augmentation):
    """Add normal noise to each reading.

    Args:
        sigma: Standard deviation of the noise, in standard deviations of the channel over the batch.
        share, only_repeats: See `Augmentation`.
    Source: Um et al. 2017, Data Augmentation of Wearable Sensor Data; Iwana & Uchida 2021, section 2.1.1.

    >>> x = np.arange(6.0).reshape(1, 3, 2)
    >>> changed, = Jitter(sigma=0.1)((x,), np.random.default_rng(0))
    >>> changed.round(2).tolist()
    [[[-0.07, 0.87], [2.1, 2.99], [4.01, 4.99]]]
    """

    sigma: float = 0.05

    def __post_init__(self) -> None:
        super().__post_init__()
        checked_number(self.sigma, "sigma", least=0, fix="pass sigma=0.1, for example")

    def changed(self, x: NDArray[Any], y: Any, rng: np.random.Generator) -> NDArray[Any]:
        """Return the records with noise."""
        noisy: NDArray[Any] = x + self.sigma * _spread(x) * rng.standard_normal(x.shape, dtype=np.float32)
        return noisy


@dataclass(frozen=True, kw_only=True)
class Scaling(Augmentation):
    """Multiply each channel of a record by a random number around 1.

    Args:
        sigma: Standard deviation of the factors.
        share, only_repeats: See `Augmentation`.
    Source: Um et al. 2017; Iwana & Uchida 2021, section 2.1.3.

    >>> Scaling(sigma=0.0)((np.ones((1, 2, 1)),), np.random.default_rng(0))[0].tolist()
    [[[1.0], [1.0]]]
    """

    sigma: float = 0.1

    def __post_init__(self) -> None:
        super().__post_init__()
        checked_number(self.sigma, "sigma", least=0, fix="pass sigma=0.1, for example")

    def changed(self, x: NDArray[Any], y: Any, rng: np.random.Generator) -> NDArray[Any]:
        """Return the scaled records."""
        return x * rng.normal(1, self.sigma, (len(x), 1, x.shape[2]))


@dataclass(frozen=True, kw_only=True)
class SmoothWarp(Augmentation):
    """A change along smooth random curves: cubic splines through random numbers at equally spaced steps.

    Args:
        sigma: Standard deviation of these numbers, around 1.
        knots: Number of them between the first and the last step.
        share, only_repeats: See `Augmentation`.
    """

    sigma: float = 0.2
    knots: int = 4

    def __post_init__(self) -> None:
        super().__post_init__()
        checked_number(self.sigma, "sigma", least=0, fix="pass sigma=0.1, for example")
        whole_number("knots", self.knots, least=0)


@dataclass(frozen=True, kw_only=True)
class MagnitudeWarp(SmoothWarp):
    """Multiply each channel by a smooth random curve around 1.

    The curve is a cubic spline through random numbers at equally spaced steps.

    Args:
        sigma: Standard deviation of those numbers.
        knots: Number of them between the first and the last step.
        share, only_repeats: See `Augmentation`.
    Source: Um et al. 2017; Iwana & Uchida 2021, section 2.1.4.

    >>> MagnitudeWarp(sigma=0.0)((np.ones((1, 3, 1)),), np.random.default_rng(0))[0].round(6).tolist()
    [[[1.0], [1.0], [1.0]]]
    """

    def changed(self, x: NDArray[Any], y: Any, rng: np.random.Generator) -> NDArray[Any]:
        """Return the records times the curves."""
        values = rng.normal(1, self.sigma, (len(x), self.knots + 2, x.shape[2]))
        curves: NDArray[Any] = np.einsum("sk,nkc->nsc", smooth_curves(x.shape[1], self.knots), values)
        warped: NDArray[Any] = x * curves
        return warped


@dataclass(frozen=True, kw_only=True)
class ChannelDropout(Augmentation):
    """Replace whole channels, as if sensors had failed.

    Args:
        rate: Probability that a channel of a record is replaced, in [0, 1]. One channel is always kept.
        value: What the readings are replaced by: a number, or None for the channel's mean over the batch.
        share, only_repeats: See `Augmentation`.

    >>> x = np.ones((1, 2, 3))
    >>> ChannelDropout(rate=0.7, value=0.0)((x,), np.random.default_rng(1))[0].tolist()
    [[[1.0, 0.0, 1.0], [1.0, 0.0, 1.0]]]
    """

    rate: float = 0.1
    value: float | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        checked_number(self.rate, "rate", least=0, most=1, fix="pass rate=0.1, for example")

    def changed(self, x: NDArray[Any], y: Any, rng: np.random.Generator) -> NDArray[Any]:
        """Return the records without some channels."""
        order = rng.random((len(x), x.shape[2]))
        dropped = (order < self.rate) & (order < order.max(axis=1, keepdims=True))
        with np.errstate(invalid="ignore"):
            known = np.isfinite(x)
            mean = np.where(known, x, 0).sum(axis=(0, 1)) / np.maximum(known.sum(axis=(0, 1)), 1)
        return np.where(dropped[:, None, :], mean if self.value is None else self.value, x)


def _spread(x: NDArray[Any]) -> Any:
    """Return the standard deviation of each channel over its finite readings."""
    known = np.isfinite(x)
    count = np.maximum(known.sum(axis=(0, 1)), 1)
    values = np.where(known, x, 0).astype(np.float64)
    mean = values.sum(axis=(0, 1)) / count
    return np.sqrt(np.where(known, (values - mean) ** 2, 0).sum(axis=(0, 1)) / count)


@lru_cache(maxsize=16)
def smooth_curves(steps: int, knots: int) -> NDArray[np.float64]:
    """Return the cubic splines through 1 at one knot and 0 at the others, `[steps, knots + 2]`.

    The spline through any values is their sum, weighted by the values.
    """
    from scipy.interpolate import CubicSpline  # takes a tenth of a second to import

    places = np.linspace(0, max(steps - 1, 1), knots + 2)
    return np.asarray(CubicSpline(places, np.eye(knots + 2))(np.arange(steps)))
