"""What every schedule is: a frozen, pure function of the epoch.

Concepts:
- *epoch*: counted from 0; a fraction is a point within it.
- *value*: a number, or one number a class, so that class weights can follow a schedule; always of the same length.
- *knots*: epochs between which the value stays between the knots' values: what a schedule can give is checked there, at
  once and not at epoch 80.
"""

import dataclasses
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, Self, final

import numpy as np

from tailfit.errors import ArgumentError

__all__ = ["Schedule", "Value", "ValueLike", "checked_epoch", "checked_value", "refuse_unequal"]

Value = float | tuple[float, ...]
ValueLike = float | Sequence[float] | Mapping[int, float]  # what users pass for one


@dataclasses.dataclass(frozen=True)
class Schedule(ABC):
    """A hyper-parameter as a function of the epoch: `schedule(epoch)` is a number, or a tuple of one number a class.

    A subclass says the value, from when on it may be another one, and where it can be judged beforehand.

    >>> from tailfit.schedules import Linear
    >>> tau: Schedule = Linear(0.0, 1.0, epochs=10)
    >>> tau(0), tau(5), tau(100)
    (0.0, 0.5, 1.0)
    """

    @final
    def __call__(self, epoch: float) -> Value:
        """The value at an epoch, counted from 0."""
        return self._at(checked_epoch("epoch", epoch))

    @abstractmethod
    def _at(self, epoch: float) -> Value:
        """As `__call__`, the epoch checked."""

    @property
    def knots(self) -> tuple[float, ...]:
        """Epochs whose values bound all others, as far as that can be said."""
        return (0,)

    def until(self, epoch: int) -> float:
        """The first point after an epoch at which the value may be another one; infinity for never."""
        return epoch + 1

    def get_config(self) -> dict[str, Any]:
        """Everything the constructor takes, in plain Python."""
        return {field.name: _plain(getattr(self, field.name)) for field in dataclasses.fields(self)}

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Self:
        """The schedule that `get_config` is of."""
        return cls(**config)


def checked_value(value: Any, name: str) -> Value:
    """A finite number as float; a sequence of them, or a dict of the codes 0 to C - 1, as tuple of floats."""
    numbers: Any = [value[code] for code in range(len(value))] if _by_code(value) else value
    if _is_number(numbers):
        return float(numbers)
    if isinstance(numbers, list | tuple | np.ndarray) and len(numbers) and all(map(_is_number, numbers)):
        return tuple(map(float, numbers))
    raise ArgumentError(
        f"{name}={value!r}",
        expected="a finite number, or one a class: a sequence, or a dict of the codes 0 to C - 1",
        fix="give the value that the hyper-parameter should have; to switch it off give the number that does, often 0",
    )


def refuse_unequal(values: Mapping[str, Value]) -> None:
    """Refuse values of which not all are numbers, or not all have as many classes."""
    lengths = {name: len(value) if isinstance(value, tuple) else None for name, value in values.items()}
    if len(set(lengths.values())) > 1:
        kinds = [
            f"{name} {'one number' if length is None else f'{length} numbers'}" for name, length in lengths.items()
        ]
        raise ArgumentError(
            f"values of unequal lengths ({', '.join(kinds)})",
            expected="all of them single numbers, or all with one number for each class",
            fix="write a single number out, one a class: [1.0] * C",
        )


def checked_epoch(name: str, epoch: Any, *, least: float = 0.0, above: bool = False) -> float:
    """A finite point in time from `least` on, or beyond it; whole ones stay `int`, which a list can be indexed with."""
    if not _is_number(epoch) or epoch < least or (above and epoch == least):
        raise ArgumentError(
            f"{name}={epoch!r}",
            expected=f"a finite number of epochs {'>' if above else '>='} {least:g}",
            fix="count epochs from 0, as fit does",
        )
    return int(epoch) if isinstance(epoch, int | np.integer) else float(epoch)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float | np.number) and not isinstance(value, bool) and bool(np.isfinite(value))


def _by_code(value: Any) -> bool:
    return isinstance(value, Mapping) and len(value) > 0 and set(value) == set(range(len(value)))


def _plain(value: Any) -> Any:
    return [_plain(part) for part in value] if isinstance(value, tuple) else value
