"""The three backends: one module each, with the names that `Engine` lists.

Only these modules import jax, tensorflow or torch. Only the module of the backend that Keras runs on is imported:
TensorFlow and torch abort when they are imported in one process.
"""

import importlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from typing import Any, Protocol, cast

import keras

from tailfit.errors import StepError

__all__ = ["Engine", "engine"]

_SUPPORTED = ("jax", "tensorflow", "torch")


class Engine(Protocol):
    """The names that each backend's module defines."""

    COMPILES: bool
    """Whether `function` compiles."""

    Trainer: Any
    """The base class of `tailfit.Model`: `keras.Model`, with the backend's loops calling tailfit's steps."""

    def value_and_grad(
        self,
        fn: Callable[..., tuple[Any, Any]],
        variables: Sequence[Any],
        inputs: Sequence[Any],
        scale: Callable[[Any], Any],
    ) -> tuple[tuple[Any, Any], list[Any]]:
        """Return `fn(*inputs)`, which is (loss, aux), and the gradients of `scale(loss)`: of variables, then inputs."""

    def function(self, fn: Callable[..., Any], *, compiled: bool = True) -> Callable[..., Any]:
        """Return `fn` compiled; Keras variables that it reads and assigns are its state.

        With `compiled=False` it runs as it would compiled, but eagerly.
        """

    def next_batches(self, batches: Any, steps: int) -> Iterator[Any]:
        """Yield up to `steps` batches of what Keras' loop passes to its step, and end as this loop expects."""

    def settings(self) -> dict[str, Any]:
        """Return the settings that results depend on as JSON, so that another process can train in the same way."""

    def apply_settings(self, settings: dict[str, Any]) -> None:
        """Apply settings of another process; call it before anything is computed."""

    def random_state(self) -> dict[str, Any]:
        """Return the states of the backend's own random generators, which Keras does not manage."""

    def check_random_state(self, state: Any) -> None:
        """Raise an exception, of any type, if `set_random_state` cannot set these states."""

    def set_random_state(self, state: dict[str, Any]) -> None:
        """Set the states of these generators."""

    def seed_generators(self, seed: int) -> None:
        """Seed these generators."""

    def outside_traces(self) -> AbstractContextManager[Any]:
        """Return a context in which variables have concrete values, also while a function is traced."""

    def connect(self, rank: int, world: int, address: str, port: int, timeout: float, *, loopback: bool) -> Any:
        """Return the transport of this worker: `gather`, `total` and `close`; see `training.workers.Exchange`."""


def _load() -> Engine:
    backend = keras.backend.backend()
    if backend not in _SUPPORTED:
        raise StepError(
            f"the Keras backend {backend!r}",
            expected=", ".join(_SUPPORTED),
            fix="set KERAS_BACKEND before Keras is imported",
        )
    return cast(Engine, importlib.import_module(f"tailfit.training.backends.{backend}"))


engine = _load()
