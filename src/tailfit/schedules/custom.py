"""Any Python function of the epoch as a schedule."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Self, final

from tailfit.errors import ArgumentError
from tailfit.schedules.base import Schedule, Value, checked_value

__all__ = ["Custom", "from_function"]


@final
@dataclass(frozen=True)
class Custom(Schedule):
    """The value that a function gives for the epoch.

    The function must be pure: the same epoch, the same value. It is called outside of anything compiled, so it may
    be plain Python. Between epochs it may do as it likes, so a sampler that follows one adds up all earlier epochs
    once; the other schedules it can leap over.

    Args:
        fn: `fn(epoch)`, a finite number, or one a class. The epoch is an `int` at the begin of each.
    Raises:
        ArgumentError: for what can't be called; at an epoch for which it gives no such value; and by `get_config`
            (when a model is saved) for a function that isn't registered with Keras.

    >>> tau = Custom(lambda epoch: min(1.0, 0.1 * epoch))
    >>> tau(5), tau(50)
    (0.5, 1.0)
    """

    fn: Callable[[float], Any]

    def __post_init__(self) -> None:
        if not callable(self.fn):
            raise ArgumentError(
                f"fn={self.fn!r}", expected="a function of the epoch", fix="for a fixed value use Constant"
            )

    def _at(self, epoch: float) -> Value:
        return checked_value(self.fn(epoch), f"the value at epoch {epoch} of {self.fn!r}: value")

    def get_config(self) -> dict[str, Any]:
        """The name under which the function is registered with Keras.

        Raises:
            ArgumentError: where it is not.
        """
        import keras  # only to save: the room works without

        name = keras.saving.get_registered_name(self.fn) if hasattr(self.fn, "__name__") else None
        if name is None or keras.saving.get_registered_object(name) is not self.fn:
            raise ArgumentError(
                f"a schedule of {self.fn!r} to be saved",
                expected="a function that is registered with Keras, so that loading finds it",
                fix="put @keras.saving.register_keras_serializable() above a named function",
            )
        return {"fn": name}

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Self:
        """The schedule of the registered function."""
        import keras

        fn = keras.saving.get_registered_object(config["fn"])
        if fn is None:
            raise ArgumentError(
                f"a saved schedule of the function {config['fn']!r}, which Keras doesn't know",
                expected="a function that is registered with Keras",
                fix="import the module that registers it before loading, or pass it as custom_objects",
            )
        return cls(fn)


def from_function(fn: Callable[[float], Any]) -> Custom:
    """A function of the epoch as a schedule; also as a decorator.

    >>> @from_function
    ... def power(epoch):
    ...     return 1.0 if epoch < 10 else 0.5
    >>> power(9), power(10)
    (1.0, 0.5)
    """
    return Custom(fn)
