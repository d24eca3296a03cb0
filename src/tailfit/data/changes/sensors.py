"""Preprocessing of sensor records: filling of missing readings and normalisation of channels.

Each class is a function of a batch of records `[n, ..., channels]` or of a `Ragged`, for use by itself, in `Mapped`, or
in `Batches` as `transform=object.transform`. Its fields contain the statistics, fitted on the training part only.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from tailfit.data.records.ragged import Ragged
from tailfit.data.source import Source, index_chunks
from tailfit.errors import ArgumentError, DataError

__all__ = ["FillMissing", "Normalize", "RecordFunction"]

_CHUNK_SIZE = 1 << 24  # approximate bytes read from the source at once
_METHODS = ("forward", "mean", "zero")


class RecordFunction(ABC):
    """A function of records that can also be the `transform` of `Batches`."""

    @abstractmethod
    def __call__(self, x: Any) -> Any:
        """Return the changed records."""

    def transform(self, batch: tuple[Any, ...], rng: np.random.Generator) -> tuple[Any, ...]:
        """Change the records of a batch, for `Batches(transform=...)`."""
        del rng
        return (self(batch[0]), *batch[1:])


@dataclass(frozen=True, eq=False, kw_only=True)
class Normalize(RecordFunction):
    """Normalise each channel, the last axis, to `(x - mean) / std`.

    Args:
        mean, std: Mean and standard deviation of each channel, `float64[channels]`. A constant channel has std 0 and is
            only centred.
    Shapes: `[..., channels]` in the channel's unit to the same shape in standard deviations, with the same float dtype;
        integers become float32.
    Raises:
        ArgumentError: If mean or std is not one finite number per channel, or a std is negative.
        DataError: When called, if the number of channels differs.

    >>> import tailfit
    >>> train = tailfit.data.Arrays(np.array([[[0.0, 7.0], [2.0, 7.0]], [[4.0, 7.0], [6.0, 7.0]]]))
    >>> normalize = Normalize.fit(train)
    >>> normalize.mean.tolist(), normalize(train.read([0])).round(2).tolist()
    ([3.0, 7.0], [[[-1.34, 0.0], [-0.45, 0.0]]])
    """

    mean: NDArray[np.float64]
    std: NDArray[np.float64]

    def __post_init__(self) -> None:
        mean, std = _per_channel("mean", self.mean), _per_channel("std", self.std)
        if len(mean) != len(std) or (std < 0).any():
            raise ArgumentError(
                f"mean of {len(mean)} channels and std={std!r}",
                expected="one mean and one std >= 0 per channel",
                fix="use Normalize.fit(training_source)",
            )
        object.__setattr__(self, "mean", mean)
        object.__setattr__(self, "std", std)

    @classmethod
    def fit(cls, source: Source) -> "Normalize":
        """Compute mean and standard deviation of each channel over a source, which should be the training part.

        Missing readings are ignored. Batches are combined by Chan, Golub & LeVeque 1983, eq. 2.1, which avoids the
        cancellation of large sums.

        Raises:
            DataError: If records are not arrays of numbers with a channel axis, or a channel has no reading.
        """
        count = mean = squares = np.zeros(1)
        for records in _batches(source):
            values = records.reshape(-1, records.shape[-1]).astype(np.float64)
            known = np.isfinite(values)
            n = known.sum(axis=0)
            own = np.where(known, values, 0.0).sum(axis=0) / np.maximum(n, 1)
            deviations = np.where(known, values - own, 0.0)
            total = count + n
            step = np.where(n > 0, own - mean, 0.0)
            squares = squares + (deviations**2).sum(axis=0) + step**2 * count * n / np.maximum(total, 1)
            mean = mean + step * n / np.maximum(total, 1)
            count = total
        if (count == 0).any():
            names = source.channels or range(len(count))
            empty = [names[place] for place in np.flatnonzero(count == 0)]
            raise DataError(
                f"channels without a reading in {source!r}: {', '.join(map(repr, empty[:5]))}",
                expected="at least one finite value in each channel",
                fix="leave them out: pass columns= with the others to the reader (data.options.columns in a recipe)",
            )
        return cls(mean=mean, std=np.sqrt(squares / count))

    def __call__(self, x: Any) -> Any:
        """Return the normalised records."""
        if isinstance(x, Ragged):
            return x.map(self)
        x = np.asarray(x)
        if x.ndim == 0 or x.shape[-1] != len(self.mean):
            raise DataError(
                f"records of shape {x.shape}",
                expected=f"{len(self.mean)} channels in the last axis",
                fix="pass records with the channels that Normalize was fitted on",
            )
        kind = x.dtype if x.dtype.kind == "f" else np.dtype(np.float32)
        normalised: NDArray[Any] = ((x - self.mean) / np.where(self.std == 0, 1.0, self.std)).astype(kind)
        return normalised

    def layer(self) -> Any:
        """Return the same function as a `keras.layers.Normalization`, which is saved as part of a model."""
        import keras

        # The layer divides by max(std, epsilon), which would amplify a constant channel; with variance 1 it does not.
        variance = np.where(self.std == 0, 1.0, self.std**2)
        return keras.layers.Normalization(axis=-1, mean=self.mean.tolist(), variance=variance.tolist())


@dataclass(frozen=True, eq=False, kw_only=True)
class FillMissing(RecordFunction):
    """Replace NaN, a missing reading, and optionally append a mask of the readings.

    Args:
        method: Replacement of a missing reading. `"forward"`: the channel's previous reading in the record, along the
            axis before the last, or the channel's mean before the first reading. `"mean"`: the channel's mean.
            `"zero"`: 0.
        mean: Mean of each channel, as computed by `fit`; 0 by default.
        mask: Whether to append a channel for each channel that is 1 at a reading and 0 at a missing one.
    Shapes: `[n, steps, channels]` to the same shape, or `[n, steps, 2 * channels]` with the mask. `"mean"` and `"zero"`
        also accept `[n, channels]`.
    Raises:
        ArgumentError: If the method is unknown, or the mean is not one finite number per channel.
        DataError: When called, if the number of channels differs, or records have no steps for `"forward"`.

    >>> fill = FillMissing(method="forward", mask=True)
    >>> fill(np.array([[[np.nan], [5.0], [np.nan]]])).tolist()
    [[[0.0, 0.0], [5.0, 1.0], [5.0, 0.0]]]
    """

    method: Literal["forward", "mean", "zero"] = "forward"
    mean: NDArray[np.float64] | None = None
    mask: bool = False

    def __post_init__(self) -> None:
        if self.method not in _METHODS:
            raise ArgumentError(
                f"method={self.method!r}", expected=f"one of {_METHODS}", fix="drop method=, or pass one of these"
            )
        if self.mean is not None:
            object.__setattr__(self, "mean", _per_channel("mean", self.mean))

    @classmethod
    def fit(cls, source: Source, **options: Any) -> "FillMissing":
        """Build `FillMissing` with the mean of each channel over a source, which should be the training part."""
        return cls(mean=Normalize.fit(source).mean, **options)

    def __call__(self, x: Any) -> Any:
        """Return the records without NaN."""
        if isinstance(x, Ragged):
            # A filled value depends only on earlier steps, so never on the padding.
            filled = self(x.padded())
            return Ragged(filled[x.mask()], x.lengths)
        x = np.asarray(x)
        steps = 3 if self.method == "forward" else 2
        wrong = self.mean is not None and x.shape[-1:] != (len(self.mean),)
        if x.ndim < steps or wrong or x.dtype.kind not in "fiu":
            raise DataError(
                f"records of shape {x.shape} and type {x.dtype}",
                expected=f"numbers of {'any' if self.mean is None else len(self.mean)} channels in the last axis"
                + (", and steps in the axis before it" if self.method == "forward" else ""),
                fix="pass records with the channels that FillMissing was fitted on",
            )
        missing = np.isnan(x)
        default: Any = np.zeros(x.shape[-1]) if self.mean is None or self.method == "zero" else self.mean
        filled = np.where(missing, default.astype(x.dtype), x)
        if self.method == "forward" and missing.any():
            # The step of the last reading at or before each step; -1 before the first reading.
            step = np.arange(x.shape[-2])[:, None]
            last = np.maximum.accumulate(np.where(missing, -1, step), axis=-2)
            filled = np.where(last < 0, filled, np.take_along_axis(x, np.maximum(last, 0), axis=-2))
        return np.concatenate([filled, (~missing).astype(x.dtype)], axis=-1) if self.mask else filled


def _per_channel(what: str, values: Any) -> NDArray[np.float64]:
    try:
        array = np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError, OverflowError):
        array = np.empty(())
    if array.ndim != 1 or not np.isfinite(array).all():
        raise ArgumentError(f"{what}={values!r}", expected="one finite number per channel", fix="use Normalize.fit")
    return array


def _batches(source: Source) -> Any:
    first = source.read([0]) if len(source) else None
    if not isinstance(first, np.ndarray | Ragged) or len(first.shape) < 2 or first.dtype.kind not in "fiub":
        raise DataError(
            f"{source!r} with records of the type {type(first).__name__}",
            expected="arrays of numbers whose last axis is the channels",
            fix="select the array with Mapped(source, lambda records: records['name'])",
        )
    together = max(1, _CHUNK_SIZE // max(first.nbytes, 1))
    for positions in index_chunks(0, len(source), together):
        records = source.read(positions)
        yield records.values if isinstance(records, Ragged) else records
