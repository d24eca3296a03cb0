"""Schedules defined by a Python function of the epoch."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Self, final

from tailfit.errors import ArgumentError
from tailfit.schedules.base import Schedule, Value, checked_value

__all__ = ["Custom", "from_function"]


@final
@dataclass(frozen=True)
class Custom(Schedule):
    """The value of a user's function of the epoch.

    The function must be pure: the same epoch always gives the same value. It is called outside compiled code, so it may
    be plain Python. Since nothing is known about its values between two epochs, a sampler that follows it evaluates all
    earlier epochs once; it does not need to for the other schedules.

    Args:
        fn: A function `fn(epoch)` that returns a finite number, or one per class. At the beginning of an epoch it is
            called with an `int`.
    Raises:
        ArgumentError: If `fn` is not callable; when the schedule is called, if `fn` returns anything else; in
            `get_config` (when a model is saved), if the function is not registered with Keras.

    >>> tau = Custom(lambda epoch: min(1.0, 0.1 * epoch))
    >>> tau(5), tau(50)
    (0.5, 1.0)
    """

    fn: Callable[[float], Any]

    def __post_init__(self) -> None:
        if not callable(self.fn):
            raise ArgumentError(
                f"fn={self.fn!r}", expected="a function of the epoch", fix="use Constant for a fixed value"
            )

    def _at(self, epoch: float) -> Value:
        return checked_value(self.fn(epoch), f"the value at epoch {epoch} of {self.fn!r}: value")

    def get_config(self) -> dict[str, Any]:
        """Return the name under which the function is registered with Keras.

        Raises:
            ArgumentError: If it is not registered.
        """
        import keras  # only needed for saving; schedules work without Keras

        name = keras.saving.get_registered_name(self.fn) if hasattr(self.fn, "__name__") else None
        if name is None or keras.saving.get_registered_object(name) is not self.fn:
            raise ArgumentError(
                f"a schedule with the unregistered function {self.fn!r}, to be saved",
                expected="a function that is registered with Keras, so that it is found when the model is loaded",
                fix="define a named function decorated with @keras.saving.register_keras_serializable()",
            )
        return {"fn": name}

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Self:
        """Build the schedule from the name of the registered function."""
        import keras

        fn = keras.saving.get_registered_object(config["fn"])
        if fn is None:
            raise ArgumentError(
                f"a saved schedule with the function {config['fn']!r}, which is not registered with Keras",
                expected="a function that is registered with Keras",
                fix="import the module that registers the function before loading, or pass it in custom_objects",
            )
        return cls(fn)


def from_function(fn: Callable[[float], Any]) -> Custom:
    """Make a schedule from a function of the epoch; also usable as a decorator.

    >>> @from_function
    ... def power(epoch):
    ...     return 1.0 if epoch < 10 else 0.5
    >>> power(9), power(10)
    (1.0, 0.5)
    """
    return Custom(fn)
