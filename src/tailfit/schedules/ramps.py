"""Schedules that change gradually from one value to another over a number of epochs."""

import math
from abc import abstractmethod
from dataclasses import dataclass, field
from typing import cast, final

from tailfit.schedules.base import Schedule, Value, ValueLike, checked_epoch, checked_value, refuse_unequal

__all__ = ["Cosine", "Linear"]


@dataclass(frozen=True)
class _Ramp(Schedule):
    """A schedule with `start` up to epoch `begin` and `stop` from `begin + epochs` on; subclasses interpolate."""

    start: ValueLike
    stop: ValueLike
    epochs: float
    begin: float = field(default=0, kw_only=True)

    def __post_init__(self) -> None:
        start, stop = checked_value(self.start, "start"), checked_value(self.stop, "stop")
        refuse_unequal({"start": start, "stop": stop})
        object.__setattr__(self, "start", start)
        object.__setattr__(self, "stop", stop)
        object.__setattr__(self, "epochs", checked_epoch("epochs", self.epochs, above=True))
        object.__setattr__(self, "begin", checked_epoch("begin", self.begin))

    @abstractmethod
    def _share(self, time: float) -> float:
        """Return the completed share of the change, increasing in `time`, which is in (0, 1)."""

    def _at(self, epoch: float) -> Value:
        time = (epoch - self.begin) / self.epochs
        # Return the end values exactly: gamma=0 is cross-entropy, gamma=1e-17 is not.
        start, stop = cast(Value, self.start), cast(Value, self.stop)
        if time <= 0:
            return start
        if time >= 1:
            return stop
        share = self._share(time)
        if isinstance(start, tuple) or isinstance(stop, tuple):
            return tuple(_between(a, b, share) for a, b in zip(start, stop, strict=True))  # type: ignore[arg-type]
        return _between(start, stop, share)

    @property
    def knots(self) -> tuple[float, ...]:
        return (self.begin, self.begin + self.epochs)

    def until(self, epoch: int) -> float:
        if epoch < self.begin:
            return self.begin
        return epoch + 1 if epoch < self.begin + self.epochs else float("inf")


def _between(start: float, stop: float, share: float) -> float:
    # Clip the rounding error: values in between must satisfy every bound that both ends satisfy.
    low, high = min(start, stop), max(start, stop)
    return min(max(start + (stop - start) * share, low), high)


@final
@dataclass(frozen=True)
class Linear(_Ramp):
    """Change linearly from `start` to `stop` over `epochs` epochs.

    Args:
        start: Value up to epoch `begin`: a finite number, or one per class.
        stop: Value from epoch `begin + epochs` on, of the same length as `start`.
        epochs: Duration of the change in epochs, > 0.
        begin: Epoch at which the change begins, >= 0.
    Raises:
        ArgumentError: If a value is not finite or out of range, or if `start` and `stop` differ in length.

    >>> tau = Linear(0.0, 1.0, epochs=4, begin=2)
    >>> [tau(epoch) for epoch in range(8)]
    [0.0, 0.0, 0.0, 0.25, 0.5, 0.75, 1.0, 1.0]
    """

    def _share(self, time: float) -> float:
        return time


@final
@dataclass(frozen=True)
class Cosine(_Ramp):
    """Change from `start` to `stop` over `epochs` epochs along half a cosine: slow at both ends.

    Args:
        start: Value up to epoch `begin`: a finite number, or one per class.
        stop: Value from epoch `begin + epochs` on, of the same length as `start`.
        epochs: Duration of the change in epochs, > 0.
        begin: Epoch at which the change begins, >= 0.
    Raises:
        ArgumentError: If a value is not finite or out of range, or if `start` and `stop` differ in length.
    Source: Loshchilov and Hutter 2017, arXiv:1608.03983, eq. 5, without restarts.

    >>> gamma = Cosine(2.0, 0.0, epochs=4)
    >>> [round(gamma(epoch), 4) for epoch in range(6)]
    [2.0, 1.7071, 1.0, 0.2929, 0.0, 0.0]
    """

    def _share(self, time: float) -> float:
        return (1.0 - math.cos(math.pi * time)) / 2.0
