"""`tailfit.function`: compile a Python function that uses Keras state, on every backend."""

import inspect
import numbers
import warnings
from collections.abc import Callable, Sequence
from functools import partial, wraps
from typing import Any, TypeVar, cast, overload

import keras
import numpy as np

from tailfit.errors import ArgumentError, StepError
from tailfit.text import TailfitWarning
from tailfit.training.backends import engine

__all__ = ["RetraceWarning", "function"]

F = TypeVar("F", bound=Callable[..., Any])


# A function may well have this many programs: a few batch sizes, training and inference. More suggests that shapes
# change all the time.
_FEW = 8


class RetraceWarning(TailfitWarning):
    """A `tailfit.function` is compiled again and again, for new shapes, dtypes or static arguments."""


@overload
def function(fn: F) -> F: ...
@overload
def function(*, static_argnames: str | Sequence[str] = ()) -> Callable[[F], F]: ...
def function(fn: F | None = None, *, static_argnames: str | Sequence[str] = ()) -> F | Callable[[F], F]:
    """Compile a function that reads and writes Keras state: weights, optimizers, metrics, seeds.

    The state is found automatically; there is nothing to pass in or out. On JAX and TensorFlow the function is compiled
    once for each combination of argument shapes and dtypes: Python side effects (`print`, appending to a list) happen
    while it is traced, not at every call. On PyTorch its operators are recorded in the second and third call with such
    arguments and repeated from then on; gradients are computed only inside `value_and_grad`. What cannot be recorded
    runs eagerly. Called by another compiled function, it becomes part of that one.

    Args:
        fn: Function of arrays, tensors, numbers or None, also in tuples, lists and dicts; it returns tensors in the
            same containers. Numbers are converted to tensors, so a new value does not compile again. Anything else
            (strings, models, flags that choose a branch) must be static, or be captured by the function's closure.
        static_argnames: Names of arguments that the function receives unconverted. They must be hashable; each new
            value compiles again.
    Returns:
        A function with the same signature. Variables have their new values when it returns.
    Raises:
        StepError: If an argument is neither an array nor a number, or a static one is not hashable.
        ArgumentError: If `static_argnames` has a name that is not an argument of the function.
    Warns:
        RetraceWarning: Once, at the ninth combination of shapes, dtypes and static arguments.

    >>> import keras, tailfit
    >>> total = keras.Variable(0.0)
    >>> @tailfit.function
    ... def add(x):
    ...     total.assign_add(keras.ops.sum(x))
    ...     return total.value * 2
    >>> float(add([1.0, 2.0])), float(add([3.0, 4.0])), float(total.numpy())
    (6.0, 20.0, 10.0)
    """
    names = (static_argnames,) if isinstance(static_argnames, str) else tuple(static_argnames)
    if fn is None:
        return partial(function, static_argnames=names)
    if not callable(fn):
        raise ArgumentError(f"fn={fn!r}", expected="a function", fix="write @tailfit.function above its definition")
    if not names:
        return cast(F, _watched(fn))
    signature = inspect.signature(fn)
    unknown = [name for name in names if name not in signature.parameters]
    if unknown:
        raise ArgumentError(
            f"static_argnames with {unknown[0]!r} for {_name(fn)}{signature}",
            expected="names of its arguments",
            fix="correct the name",
        )
    signatures: set[Any] = set()
    programs: dict[tuple[Any, ...], Callable[..., Any]] = {}

    @wraps(fn)
    def call(*args: Any, **kwargs: Any) -> Any:
        bound = signature.bind(*args, **kwargs)
        bound.apply_defaults()
        static = {name: bound.arguments.pop(name) for name in names}
        try:
            # With its type: 1, 1.0 and True are equal, but may not mean the same to the function.
            key = tuple((type(value), value) for value in static.values())
            program = programs.get(key)
        except TypeError:
            name = next(name for name, value in static.items() if not _is_hashable(value))
            raise StepError(
                f"the static argument {name} of type {type(static[name]).__name__}",
                expected="hashable values: numbers, strings, tuples, objects",
                fix="pass a tuple instead of a list, or capture the value in the function's closure",
            ) from None
        if program is None:
            program = programs[key] = _watched(_rebound(fn, signature, static), signatures, key)
        return program(dict(bound.arguments))

    return cast(F, call)


def _rebound(fn: Callable[..., Any], signature: inspect.Signature, static: dict[str, Any]) -> Callable[..., Any]:
    def call(arguments: dict[str, Any]) -> Any:
        bound = signature.bind_partial()
        bound.arguments.update((name, {**arguments, **static}[name]) for name in signature.parameters)
        return fn(*bound.args, **bound.kwargs)

    call.__qualname__ = _name(fn)  # not functools.wraps: tf.function would read the signature of `fn`
    return call


def _watched(fn: Callable[..., Any], signatures: set[Any] | None = None, static: Any = ()) -> Callable[..., Any]:
    """Return `fn` compiled, with its arguments converted and its programs counted."""
    compiled = engine.function(fn)
    seen: set[Any] = set() if signatures is None else signatures

    @wraps(fn)
    def call(*args: Any, **kwargs: Any) -> Any:
        args, kwargs = keras.tree.map_structure(_as_argument, (args, kwargs))
        if len(seen) <= _FEW:
            seen.add((static, tuple(_signature(leaf) for leaf in keras.tree.flatten((args, kwargs)))))
            if len(seen) > _FEW and engine.COMPILES:
                _warn_of_retracing(fn, seen)
        return compiled(*args, **kwargs)

    return call


def _signature(leaf: Any) -> Any:
    return None if leaf is None else (tuple(leaf.shape), leaf.dtype)


def _warn_of_retracing(fn: Callable[..., Any], seen: set[Any]) -> None:
    shapes = sorted({str([leaf[0] for leaf in leaves if leaf is not None]) for _, leaves in seen})
    warnings.warn(
        f"Received {len(seen)} combinations of shapes, dtypes and static arguments for {_name(fn)}, for example the "
        f"shapes {'; '.join(shapes[:3])}. Expected a few: each one is compiled. Fix: pad batches to a few sizes, "
        "drop the short last batch, or pass values that change as arrays instead of static arguments.",
        RetraceWarning,
        stacklevel=3,
    )


def _name(fn: Callable[..., Any]) -> str:
    return getattr(fn, "__qualname__", repr(fn))


def _is_hashable(value: Any) -> bool:
    try:
        hash(value)
    except TypeError:
        return False
    return True


def _as_argument(value: Any) -> Any:
    if value is None or keras.ops.is_tensor(value):
        return value
    if isinstance(value, keras.Variable):
        return value.value
    if isinstance(value, numbers.Number | np.ndarray | np.generic) and np.asarray(value).dtype.kind in "biuf":
        # As in Keras: Python numbers get its default dtypes, arrays keep their own.
        return keras.ops.convert_to_tensor(value)
    raise StepError(
        f"an argument of type {type(value).__name__}",
        expected="arrays, tensors and numbers, in tuples, lists and dicts, or None",
        fix="add its name to static_argnames, or capture the value in the function's closure",
    )
