"""Hyper-parameters that follow a schedule: the current value is a variable, so that updates cause no retracing."""

from collections.abc import Callable
from typing import Any

import keras
import numpy as np

from tailfit import schedules
from tailfit.errors import ArgumentError, StepError
from tailfit.keras_private import get_stateless_scope, in_symbolic_scope
from tailfit.schedules import Schedule

__all__ = ["Scheduled", "as_scheduled", "config_of", "refuse_constant_variables", "value_of"]


def _register_schedules() -> None:
    """Register the schedule classes with Keras, which `tailfit.schedules` does not import."""
    for name in schedules.__all__:
        kind = getattr(schedules, name)
        if isinstance(kind, type) and kind is not Schedule:
            keras.saving.register_keras_serializable(package="tailfit.schedules")(kind)


_register_schedules()


class Scheduled:
    """A hyper-parameter that follows a schedule; a variable contains its value at the current epoch (at first 0).

    Args:
        schedule: The schedule of the values.
        check: A function that checks a value and returns it.
        name: Name of the argument, for messages.
        dtype: Dtype of the variable; None is float32.
    Raises:
        ArgumentError: If a value at a knot of the schedule is out of range; in `set_epoch`, if the value at that epoch
            is out of range or differs in shape.
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
        """Set the variable to the value at an epoch."""
        value = np.asarray(self._value(epoch))
        if value.shape != tuple(self.variable.shape):
            raise ArgumentError(
                f"{self._name} of shape {value.shape} at epoch {epoch}, and {tuple(self.variable.shape)} at epoch 0",
                expected="the same number of values at every epoch",
                fix="change the schedule's function to return values of one length",
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
        """Return the variable; raise if a compiled step would treat its current value as a constant."""
        refuse_constant_variables(f"{self._name}={self.schedule!r}", self.variable, what="schedules")
        return self.variable

    def __repr__(self) -> str:
        return repr(self.schedule)


def refuse_constant_variables(received: str, variable: keras.Variable | None, *, what: str) -> None:
    """Raise inside a step that Keras itself compiles on JAX.

    Such a step updates only the variables of the model; the current values of all others, such as those of a loss,
    become constants of the compiled program.

    Args:
        received: The option that requires the variable, for the message.
        variable: The variable, or None if it is not created yet.
        what: The feature that would not work, for the message.
    Raises:
        StepError: If called in such a step.
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
            f"{received} in a step that Keras itself compiles on JAX",
            expected=f"{what} only in steps compiled by tailfit, since those of Keras keep the first value forever",
            fix="use tailfit.Model instead of keras.Model, or compile your training loop with tailfit.function",
        )


def as_scheduled(value: Any, check: Callable[[Any], Any], *, name: str, dtype: Any) -> Any:
    """Return a `Scheduled` for a schedule, and the checked value itself for anything else."""
    if not isinstance(value, Schedule):
        return check(value)
    # In a float64 loss, a float32 variable would round the value.
    return Scheduled(value, check, name=name, dtype="float64" if dtype == "float64" else "float32")


def value_of(value: Any) -> Any:
    """Return the variable of a `Scheduled`, and any other value unchanged."""
    return value.read() if isinstance(value, Scheduled) else value


def config_of(value: Any) -> Any:
    """Return a value as it is stored in `get_config()`: plain Python."""
    schedule = value.schedule if isinstance(value, Scheduled) else value
    if isinstance(schedule, Schedule):
        return keras.saving.serialize_keras_object(schedule)
    return list(value) if isinstance(value, tuple) else value
