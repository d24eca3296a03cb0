"""Piecewise constant schedules; at a boundary the value is already the new one."""

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, cast, final

import numpy as np

from tailfit.errors import ArgumentError
from tailfit.schedules.base import Schedule, Value, ValueLike, checked_epoch, checked_value, refuse_unequal

__all__ = ["Constant", "Deferred", "Piecewise"]


@final
@dataclass(frozen=True)
class Constant(Schedule):
    """The same value at every epoch.

    Args:
        value: A finite number, or one per class.
    Raises:
        ArgumentError: If `value` is anything else.

    >>> Constant(0.5)(7)
    0.5
    """

    value: ValueLike

    def __post_init__(self) -> None:
        object.__setattr__(self, "value", checked_value(self.value, "value"))

    def _at(self, epoch: float) -> Value:
        return cast(Value, self.value)

    def until(self, epoch: int) -> float:
        return float("inf")


@final
@dataclass(frozen=True)
class Piecewise(Schedule):
    """Piecewise constant: `values[i]` for `boundaries[i - 1] <= epoch < boundaries[i]`.

    Args:
        values: One value more than boundaries; each is a finite number, or one per class.
        boundaries: Epochs > 0 in strictly ascending order.
    Raises:
        ArgumentError: If a value or boundary is invalid, values differ in length, or their numbers do not match.

    >>> power = Piecewise(values=[1.0, 0.5, 0.0], boundaries=[10, 20])
    >>> [power(epoch) for epoch in (0, 9, 10, 20, 99)]
    [1.0, 1.0, 0.5, 0.0, 0.0]
    """

    values: Sequence[ValueLike]
    boundaries: Sequence[float]

    def __post_init__(self) -> None:
        given, boundaries = _listed(self.values, "values"), _listed(self.boundaries, "boundaries")
        values = tuple(checked_value(value, f"values[{i}]") for i, value in enumerate(given))
        epochs = tuple(checked_epoch(f"boundaries[{i}]", at, above=True) for i, at in enumerate(boundaries))
        refuse_unequal({f"values[{i}]": value for i, value in enumerate(values)})
        if any(later <= earlier for earlier, later in pairwise(epochs)):
            raise ArgumentError(
                f"boundaries={list(epochs)}",
                expected="strictly ascending epochs",
                fix="sort the boundaries and remove duplicates",
            )
        if len(values) != len(epochs) + 1:
            raise ArgumentError(
                f"{len(values)} values and {len(epochs)} boundaries",
                expected="one value more than boundaries",
                fix="pass one value for each interval: before, between and after the boundaries",
            )
        object.__setattr__(self, "values", values)
        object.__setattr__(self, "boundaries", epochs)

    def _at(self, epoch: float) -> Value:
        return cast(Value, self.values[bisect_right(self.boundaries, epoch)])

    @property
    def knots(self) -> tuple[float, ...]:
        return (0, *self.boundaries)

    def until(self, epoch: int) -> float:
        passed = bisect_right(self.boundaries, epoch)
        return self.boundaries[passed] if passed < len(self.boundaries) else float("inf")


@final
@dataclass(frozen=True)
class Deferred(Schedule):
    """One value before an epoch and another from it on: deferred re-weighting and re-sampling.

    Args:
        before: Value at epochs < `at`: a finite number, or one per class.
        after: Value from epoch `at` on, of the same length as `before`.
        at: Epoch of the switch, >= 0. The authors switch at 80 % of the training, where the learning rate drops.
    Raises:
        ArgumentError: If a value is not finite or out of range, or if `before` and `after` differ in length.
    Source: Cao et al. 2019, arXiv:1906.07413, algorithm 1.

    >>> weights = Deferred(before=[1.0, 1.0], after=[0.6, 3.0], at=160)
    >>> weights(159), weights(160)
    ((1.0, 1.0), (0.6, 3.0))
    """

    before: ValueLike
    after: ValueLike
    at: float

    def __post_init__(self) -> None:
        before, after = checked_value(self.before, "before"), checked_value(self.after, "after")
        refuse_unequal({"before": before, "after": after})
        object.__setattr__(self, "before", before)
        object.__setattr__(self, "after", after)
        object.__setattr__(self, "at", checked_epoch("at", self.at))

    def _at(self, epoch: float) -> Value:
        return cast(Value, self.before if epoch < self.at else self.after)

    @property
    def knots(self) -> tuple[float, ...]:
        return (0, self.at)

    def until(self, epoch: int) -> float:
        return self.at if epoch < self.at else float("inf")


def _listed(values: Any, name: str) -> list[Any]:
    if isinstance(values, list | tuple) or (isinstance(values, np.ndarray) and values.ndim):
        return list(values)
    raise ArgumentError(
        f"{name}={values!r}",
        expected="a list",
        fix="pass lists, for example Piecewise(values=[1.0, 0.0], boundaries=[80])",
    )
