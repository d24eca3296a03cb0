"""Hyper-parameters of losses that follow a schedule: the current value is a variable, so nothing is traced again."""

from collections.abc import Callable
from typing import Any

import keras
import numpy as np

from tailfit import schedules
from tailfit.errors import ArgumentError, StepError
from tailfit.keras_private import get_stateless_scope, in_symbolic_scope
from tailfit.schedules import Schedule

__all__ = ["Scheduled", "configured", "current", "followed", "refuse_own_loop"]


def _known_to_keras() -> None:
    """Registers the schedules: their own room works without Keras."""
    for name in schedules.__all__:
        kind = getattr(schedules, name)
        if isinstance(kind, type) and kind is not Schedule:
            keras.saving.register_keras_serializable(package="tailfit.schedules")(kind)


_known_to_keras()


class Scheduled:
    """A hyper-parameter that follows a schedule: its value at the current epoch, 0 at first, in a variable.

    Args:
        schedule: What it follows.
        check: What its values must pass; returns them.
        name: As users call it.
        dtype: Of the variable.
    Raises:
        ArgumentError: at once where a value that bounds the others is out of range; at the epoch for any other.
    """

    def __init__(self, schedule: Schedule, check: Callable[[Any], Any], *, name: str, dtype: Any = None) -> None:
        self.schedule, self._check, self._name = schedule, check, name
        self.epoch: float = 0
        first = self._value(0)
        for knot in schedule.knots:
            self._value(knot)
        self.variable = keras.Variable(
            np.asarray(first), dtype=dtype or "float32", trainable=False, autocast=False, name=name
        )

    def set_epoch(self, epoch: float) -> None:
        """Make its value that of an epoch."""
        value = np.asarray(self._value(epoch))
        if value.shape != tuple(self.variable.shape):
            raise ArgumentError(
                f"{self._name} of shape {value.shape} at epoch {epoch}, of {tuple(self.variable.shape)} at epoch 0",
                expected="the same number of values at every epoch",
                fix="correct the schedule's function",
            )
        self.variable.assign(value)
        self.epoch = epoch

    def _value(self, epoch: float) -> Any:
        value = self.schedule(epoch)
        try:
            return self._check(value)
        except ArgumentError as error:
            raise ArgumentError(
                f"{error.received} at epoch {epoch:g} of {self.schedule!r}", expected=error.expected, fix=error.fix
            ) from None

    def read(self) -> Any:
        """The variable; refused where a compiled step would keep its first value for ever.

        Keras' own JAX loops carry the model's variables, and take any other one for a constant.
        """
        refuse_own_loop(f"{self._name}={self.schedule!r}", self.variable, what="schedules")
        return self.variable

    def __repr__(self) -> str:
        return repr(self.schedule)


def refuse_own_loop(received: str, variable: keras.Variable | None, *, what: str) -> None:
    """Raise in a step that Keras compiles itself, on JAX: it takes a loss' variables for constants.

    Args:
        received: What needs a variable to be read and written anew in each step.
        variable: That one, or None before there is one.
        what: The same in a word.
    Raises:
        StepError: in such a step.
    """
    scope = get_stateless_scope()
    if (
        keras.backend.backend() == "jax"
        and scope is not None
        and not in_symbolic_scope()
        and not getattr(scope, "carries_all", False)
        and (variable is None or scope.get_current_value(variable) is None)
    ):
        raise StepError(
            f"{received} in a step that Keras compiles itself, on JAX",
            expected=f"{what} in steps of tailfit: Keras' own would keep the first value for ever",
            fix="train with tailfit.Model in place of keras.Model, or compile your loop with tailfit.function",
        )


def followed(value: Any, check: Callable[[Any], Any], *, name: str, dtype: Any) -> Any:
    """The checked value itself, or a `Scheduled` where it is a schedule."""
    if not isinstance(value, Schedule):
        return check(value)
    # Other losses' float64 would be rounded by a float32 variable.
    return Scheduled(value, check, name=name, dtype="float64" if dtype == "float64" else "float32")


def current(value: Any) -> Any:
    """What `call` computes with: a `Scheduled`'s variable, anything else as it is."""
    return value.read() if isinstance(value, Scheduled) else value


def configured(value: Any) -> Any:
    """What `get_config` holds of a value: plain Python."""
    schedule = value.schedule if isinstance(value, Scheduled) else value
    if isinstance(schedule, Schedule):
        return keras.saving.serialize_keras_object(schedule)
    return list(value) if isinstance(value, tuple) else value
