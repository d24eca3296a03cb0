"""Readings of sensors before they reach a network: missing ones filled, channels brought to one scale.

Each is a function of a batch of records `[n, ..., channels]` or of a `Ragged` of them, for `Mapped` or by itself, and
as `.transform` for `Batches(transform=)`. What it learnt, from the training part only, is in its fields.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from tailfit.data.records.ragged import Ragged
from tailfit.data.source import Source, index_chunks
from tailfit.errors import ArgumentError, DataError

__all__ = ["FillMissing", "Normalize", "OfRecords"]

_CHUNK_SIZE = 1 << 24  # bytes read from the source at once, about
_METHODS = ("forward", "mean", "zero")


class OfRecords(ABC):
    """A function of records, and as what `Batches` takes."""

    @abstractmethod
    def __call__(self, x: Any) -> Any:
        """Changed records."""

    def transform(self, batch: tuple[Any, ...], rng: np.random.Generator) -> tuple[Any, ...]:
        """For `Batches(transform=...)`: the records of a batch changed."""
        del rng
        return (self(batch[0]), *batch[1:])


@dataclass(frozen=True, eq=False, kw_only=True)
class Normalize(OfRecords):
    """`(x - mean) / std` for each channel, the last axis.

    Args:
        mean, std: One a channel, `float64[channels]`. A channel that never changes has std 0 and is only centred.
    Shapes: `[..., channels]` in the channel's unit to the same shape in standard deviations, of the same float type.
    Raises:
        ArgumentError: for what are not finite numbers, one a channel, or a std below 0.
        DataError: when called with another number of channels.

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
                expected="one of both a channel, std >= 0",
                fix="use Normalize.fit(training_source)",
            )
        object.__setattr__(self, "mean", mean)
        object.__setattr__(self, "std", std)

    @classmethod
    def fit(cls, source: Source) -> "Normalize":
        """Mean and standard deviation of each channel over a source, the training part; missing readings left out.

        Streamed in batches; Chan, Golub & LeVeque 1983, eq. 2.1, so that no large sum loses small differences.

        Raises:
            DataError: for records that are no arrays of numbers with a last axis, or a channel without a reading.
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
            raise DataError(
                f"channel {int(np.argmax(count == 0))} without a reading in {source!r}",
                expected="one finite value a channel, at least",
                fix="drop the channel",
            )
        return cls(mean=mean, std=np.sqrt(squares / count))

    def __call__(self, x: Any) -> Any:
        """Normalised records."""
        if isinstance(x, Ragged):
            return x.map(self)
        x = np.asarray(x)
        if x.ndim == 0 or x.shape[-1] != len(self.mean):
            raise DataError(
                f"records of shape {x.shape}", expected=f"{len(self.mean)} channels in the last axis", fix="check x"
            )
        kind = x.dtype if x.dtype.kind == "f" else np.dtype(np.float32)
        normalised: NDArray[Any] = ((x - self.mean) / np.where(self.std == 0, 1.0, self.std)).astype(kind)
        return normalised

    def layer(self) -> Any:
        """The same as a `keras.layers.Normalization`, which is saved with the model it is put into."""
        import keras

        # The layer never divides by less than its epsilon: a channel that never changes would be blown up.
        variance = np.where(self.std == 0, 1.0, self.std**2)
        return keras.layers.Normalization(axis=-1, mean=self.mean.tolist(), variance=variance.tolist())


@dataclass(frozen=True, eq=False, kw_only=True)
class FillMissing(OfRecords):
    """NaN, a missing reading, replaced; and told to the network, if wished, by a channel more for each channel.

    Args:
        method: `"forward"`: the channel's last reading before it in the record, of steps on the axis before the last;
            before the first reading, and where there is none, its mean. `"mean"`: its mean. `"zero"`: 0.
        mean: One a channel, what `fit` found; without it 0.
        mask: Whether channels are added that are 1 where a reading was there, and 0 where it was missing.
    Shapes: `[n, steps, channels]` to the same, or `[n, steps, 2 * channels]` with the mask; `"mean"` and `"zero"` take
        `[n, channels]`, too.
    Raises:
        ArgumentError: for an unknown method, or a mean that is not a finite number a channel.
        DataError: when called with another number of channels, or with records without steps for `"forward"`.

    >>> fill = FillMissing(method="forward", mask=True)
    >>> fill(np.array([[[np.nan], [5.0], [np.nan]]])).tolist()
    [[[0.0, 0.0], [5.0, 1.0], [5.0, 0.0]]]
    """

    method: Literal["forward", "mean", "zero"] = "forward"
    mean: NDArray[np.float64] | None = None
    mask: bool = False

    def __post_init__(self) -> None:
        if self.method not in _METHODS:
            raise ArgumentError(f"method={self.method!r}", expected=f"one of {_METHODS}", fix="leave it out")
        if self.mean is not None:
            object.__setattr__(self, "mean", _per_channel("mean", self.mean))

    @classmethod
    def fit(cls, source: Source, **options: Any) -> "FillMissing":
        """With the mean of each channel over a source, the training part."""
        return cls(mean=Normalize.fit(source).mean, **options)

    def __call__(self, x: Any) -> Any:
        """Records without NaN."""
        if isinstance(x, Ragged):
            # What is filled depends on nothing that comes after it, so not on the padding.
            filled = self(x.padded())
            return Ragged(filled[x.mask()], x.lengths)
        x = np.asarray(x)
        steps = 3 if self.method == "forward" else 2
        wrong = self.mean is not None and x.shape[-1:] != (len(self.mean),)
        if x.ndim < steps or wrong or x.dtype.kind not in "fiu":
            raise DataError(
                f"records of shape {x.shape} and type {x.dtype}",
                expected=f"numbers of {'any' if self.mean is None else len(self.mean)} channels in the last axis"
                + (", steps in the axis before" if self.method == "forward" else ""),
                fix="check x",
            )
        missing = np.isnan(x)
        instead: Any = np.zeros(x.shape[-1]) if self.mean is None or self.method == "zero" else self.mean
        filled = np.where(missing, instead.astype(x.dtype), x)
        if self.method == "forward" and missing.any():
            # The step of the last reading at or before each step; -1 where there is none yet.
            step = np.arange(x.shape[-2])[:, None]
            last = np.maximum.accumulate(np.where(missing, -1, step), axis=-2)
            filled = np.where(last < 0, filled, np.take_along_axis(x, np.maximum(last, 0), axis=-2))
        return np.concatenate([filled, (~missing).astype(x.dtype)], axis=-1) if self.mask else filled


def _per_channel(what: str, values: Any) -> NDArray[np.float64]:
    try:
        array = np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError):
        array = np.empty(())
    if array.ndim != 1 or not np.isfinite(array).all():
        raise ArgumentError(f"{what}={values!r}", expected="a finite number a channel", fix="use Normalize.fit")
    return array


def _batches(source: Source) -> Any:
    first = source.read([0]) if len(source) else None
    if not isinstance(first, np.ndarray | Ragged) or len(first.shape) < 2 or first.dtype.kind not in "fiub":
        raise DataError(
            f"{source!r} with records of the type {type(first).__name__}",
            expected="arrays of numbers whose last axis is the channels",
            fix="pick the array with Mapped(source, lambda records: records['name'])",
        )
    together = max(1, _CHUNK_SIZE // max(first.nbytes, 1))
    for positions in index_chunks(0, len(source), together):
        records = source.read(positions)
        yield records.values if isinstance(records, Ragged) else records
