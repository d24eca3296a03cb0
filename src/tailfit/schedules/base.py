"""The base class of schedules: a schedule is a frozen, pure function of the epoch.

Concepts:
- *epoch*: counted from 0; a fraction is a point within the epoch.
- *value*: a number, or one number per class (for class weights); its length is the same at every epoch.
- *knots*: epochs whose values bound the values at all other epochs. Checking a schedule at its knots finds a value
  out of range when the schedule is passed, not 80 epochs into the training.
"""

import dataclasses
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, Self, final

import numpy as np

from tailfit.errors import ArgumentError

__all__ = ["Schedule", "Value", "ValueLike", "checked_epoch", "checked_value", "refuse_unequal"]

Value = float | tuple[float, ...]
ValueLike = float | Sequence[float] | Mapping[int, float]  # accepted from users; `checked_value` converts to Value


@dataclasses.dataclass(frozen=True)
class Schedule(ABC):
    """A hyper-parameter as a function of the epoch: `schedule(epoch)` is a number, or a tuple with one per class.

    Subclasses define `_at`; those that know more about their values override `knots` and `until`.

    >>> from tailfit.schedules import Linear
    >>> tau: Schedule = Linear(0.0, 1.0, epochs=10)
    >>> tau(0), tau(5), tau(100)
    (0.0, 0.5, 1.0)
    """

    @final
    def __call__(self, epoch: float) -> Value:
        """Return the value at an epoch, counted from 0."""
        return self._at(checked_epoch("epoch", epoch))

    @abstractmethod
    def _at(self, epoch: float) -> Value:
        """Return the value at a valid epoch."""

    @property
    def knots(self) -> tuple[float, ...]:
        """Epochs whose values bound the values at all other epochs, where such epochs are known."""
        return (0,)

    def until(self, epoch: int) -> float:
        """Return the first epoch after the given one at which the value may differ; infinity for never."""
        return epoch + 1

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments as plain Python values."""
        return {field.name: _plain(getattr(self, field.name)) for field in dataclasses.fields(self)}

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Self:
        """Build a schedule from `get_config()`."""
        return cls(**config)


def checked_value(value: Any, name: str) -> Value:
    """Return a finite number as a float, and a sequence or a dict by class index as a tuple of floats."""
    numbers: Any = [value[index] for index in range(len(value))] if _is_by_class(value) else value
    if _is_number(numbers):
        return float(numbers)
    if isinstance(numbers, list | tuple | np.ndarray) and len(numbers) and all(map(_is_number, numbers)):
        return tuple(map(float, numbers))
    raise ArgumentError(
        f"{name}={value!r}",
        expected="a finite number, or one per class: a sequence, or a dict with the class indices 0 to C - 1 as keys",
        fix="pass a number for the hyper-parameter; to switch it off, pass the number that disables it (often 0)",
    )


def refuse_unequal(values: Mapping[str, Value]) -> None:
    """Raise unless all values are single numbers, or all have one number for each of the same C classes."""
    lengths = {name: len(value) if isinstance(value, tuple) else None for name, value in values.items()}
    if len(set(lengths.values())) > 1:
        kinds = [
            f"{name} {'one number' if length is None else f'{length} numbers'}" for name, length in lengths.items()
        ]
        raise ArgumentError(
            f"values of unequal lengths ({', '.join(kinds)})",
            expected="only single numbers, or only values with one number per class",
            fix="repeat a single number for each class: [1.0] * C",
        )


def checked_epoch(name: str, epoch: Any, *, least: float = 0.0, above: bool = False) -> float:
    """Return a finite epoch >= `least` (> `least` if `above`); integers stay `int`, so that they can index a list."""
    if not _is_number(epoch) or epoch < least or (above and epoch == least):
        raise ArgumentError(
            f"{name}={epoch!r}",
            expected=f"a finite number of epochs {'>' if above else '>='} {least:g}",
            fix=f"pass {name}=10, for example" if above else "pass an epoch; they are counted from 0, as in fit",
        )
    return int(epoch) if isinstance(epoch, int | np.integer) else float(epoch)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float | np.number) and not isinstance(value, bool) and bool(np.isfinite(value))


def _is_by_class(value: Any) -> bool:
    return isinstance(value, Mapping) and len(value) > 0 and set(value) == set(range(len(value)))


def _plain(value: Any) -> Any:
    return [_plain(part) for part in value] if isinstance(value, tuple) else value
