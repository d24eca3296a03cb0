"""Training steps under observation: which optimizers they advance, and which state they read past Keras' scopes."""

import functools
import traceback
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import keras
import numpy as np

from tailfit.diagnosis.batches import generators_restored
from tailfit.diagnosis.finding import Place
from tailfit.diagnosis.setup import Observed, Setup
from tailfit.keras_private import in_symbolic_scope, restore_value

__all__ = ["calling_place", "observe", "replaced", "watched"]

_OWN = str(Path(__file__).parent)
_KERAS = str(Path(keras.__file__).parent)
_SET_BY_FIT = ("history", "stop_training", "train_function")


def observe(setup: Setup) -> Observed | None:
    """Run one training step on the first batch, and return what it did; None if it cannot be observed and undone.

    All variables, random number generators and the compiled functions of the model are restored. A model or a second
    optimizer that is not built yet cannot be restored.
    """
    model, batch = setup.model, setup.batch
    if batch is None or not setup.has_user_code or model.optimizer is None or not model.built:
        return None
    optimizers = _optimizers(model)
    if not all(each.built for each in optimizers.values() if each is not model.optimizer):
        return None
    if not model.optimizer.built:
        model.optimizer.build(model.trainable_variables)
    with generators_restored(), _restored(model, optimizers), watched(setup) as seen:
        try:
            # Not train_on_batch, whose data always have three parts: a user's step may expect two.
            weights, size = batch.sample_weight, len(keras.tree.flatten(batch.x)[0])
            model.fit(batch.x, batch.y, sample_weight=weights, batch_size=size, shuffle=False, verbose=0)
        except Exception as error:  # code of the user; the real call will raise it again
            seen.error = error
    return seen


@contextmanager
def watched(setup: Setup) -> Iterator[Observed]:
    """Observe the training that runs within this context; its functions are compiled anew, so that they are traced."""
    seen, optimizers = Observed(), _optimizers(setup.model)
    before = {name: _updates(each) for name, each in optimizers.items()}
    setup.model.train_function = None
    with ExitStack() as stack:
        _watch(stack, setup, seen)
        yield seen
    if seen.error is None:
        seen.optimizers = {name: _updates(each) - before[name] for name, each in optimizers.items()}


def _optimizers(model: Any) -> dict[str, Any]:
    found = {name: value for name, value in vars(model).items() if isinstance(value, keras.optimizers.Optimizer)}
    return found if model.optimizer is None else {**found, "optimizer": model.optimizer}


def _updates(optimizer: Any) -> int:
    return int(keras.ops.convert_to_numpy(optimizer.iterations))


@contextmanager
def _restored(model: Any, optimizers: dict[str, Any]) -> Iterator[None]:
    variables = {id(each): each for each in [*model.variables, *model.metrics_variables]}
    for optimizer in optimizers.values():
        variables |= {id(each): each for each in optimizer.variables}
    values = {key: np.array(keras.ops.convert_to_numpy(each.value)) for key, each in variables.items()}
    kept = {name: getattr(model, name) for name in _SET_BY_FIT if hasattr(model, name)}
    try:
        yield
    finally:
        for name, value in kept.items():
            setattr(model, name, value)
        for key, variable in variables.items():
            restore_value(variable, values[key])


def _watch(stack: ExitStack, setup: Setup, seen: Observed) -> None:
    opened: dict[int, Place] = {}  # scopes that code outside Keras opened
    seen.penalties_read = any("losses" in code.attributes for code in setup.step_methods.values())

    def init(own: Callable[..., Any], scope: Any, *args: Any, **kwargs: Any) -> None:
        own(scope, *args, **kwargs)
        place = calling_place()
        if place is not None and not place.file.startswith(_KERAS):
            opened[id(scope)] = place
            seen.penalties_read |= bool(scope.collect_losses)

    def get_current_value(own: Callable[..., Any], scope: Any, variable: Any) -> Any:
        value, outer = own(scope, variable), getattr(scope, "original_scope", None)
        if value is None and outer is not None and id(scope) in opened and own(outer, variable) is not None:
            seen.stale.append((str(variable.path), opened[id(scope)]))
        return value

    def stateless_call(own: Callable[..., Any], layer: Any, *args: Any, **kwargs: Any) -> Any:
        if layer is setup.model:
            seen.penalties_read |= bool(kwargs.get("return_losses"))
            seen.called_without_penalties |= not kwargs.get("return_losses")
        return own(layer, *args, **kwargs)

    def compute_loss(own: Callable[..., Any], model: Any, *args: Any, **kwargs: Any) -> Any:
        # On JAX it can add penalties only that stateless_call has returned.
        seen.default_loss |= not in_symbolic_scope()
        seen.penalties_read |= setup.backend != "jax" and not in_symbolic_scope()
        return own(model, *args, **kwargs)

    stack.enter_context(replaced(keras.StatelessScope, "__init__", init))
    stack.enter_context(replaced(keras.StatelessScope, "get_current_value", get_current_value))
    stack.enter_context(replaced(keras.layers.Layer, "stateless_call", stateless_call))
    stack.enter_context(replaced(keras.Model, "compute_loss", compute_loss))


@contextmanager
def replaced(owner: Any, name: str, replacement: Callable[..., Any]) -> Iterator[None]:
    """Replace a method of a class, or a function of a module, by `replacement(own, *args, **kwargs)`.

    An inherited method is replaced in the class that defines it: Keras checks whether a model overrides `compile`.
    """
    if isinstance(owner, type):
        owner = next(cls for cls in owner.__mro__ if name in vars(cls))
    own = getattr(owner, name)

    @functools.wraps(own)  # Keras reads the signatures and the marks of its own methods
    def method(*args: Any, **kwargs: Any) -> Any:
        return replacement(own, *args, **kwargs)

    setattr(owner, name, method)
    try:
        yield
    finally:
        setattr(owner, name, own)


def calling_place() -> Place | None:
    """Return the innermost line on the stack outside this package."""
    for frame, line in traceback.walk_stack(None):
        if not frame.f_code.co_filename.startswith(_OWN):
            return Place(frame.f_code.co_filename, line)
    return None
