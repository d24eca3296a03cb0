"""`tf.function`'s idea on every backend: a Python function that touches Keras state, compiled."""

import numbers
from collections.abc import Callable
from functools import wraps
from typing import Any, TypeVar, cast

import keras
import numpy as np

from tailfit.errors import StepError
from tailfit.training.backends import engine

__all__ = ["function"]

F = TypeVar("F", bound=Callable[..., Any])


def function(fn: F) -> F:
    """Compile a function that reads and writes Keras state: weights, optimizers, metrics, seeds.

    The state is found by itself; there is nothing to pass in or out. On JAX and TensorFlow the function is
    compiled once for each set of argument shapes and dtypes: Python side effects (`print`, appending to a list)
    happen while it is traced, not at every call. On PyTorch it runs as it is, without recording gradients
    outside `value_and_grad`. Inside another compiled function it becomes a part of that one.

    Args:
        fn: Takes arrays, tensors and numbers, also in tuples, lists and dicts, or None; returns tensors in
            the same containers. Numbers become tensors, so that a new value does not compile anew. Anything else
            (strings, models, flags that choose a branch) belongs into the function's closure.
    Returns:
        A function with the same signature. Variables hold their new values when it returns.
    Raises:
        StepError: an argument is neither array nor number.

    >>> import keras, tailfit
    >>> total = keras.Variable(0.0)
    >>> @tailfit.function
    ... def add(x):
    ...     total.assign_add(keras.ops.sum(x))
    ...     return total.value * 2
    >>> float(add([1.0, 2.0])), float(add([3.0, 4.0])), float(total.numpy())
    (6.0, 20.0, 10.0)
    """
    compiled = engine.function(fn)

    @wraps(fn)
    def call(*args: Any, **kwargs: Any) -> Any:
        args, kwargs = keras.tree.map_structure(_as_argument, (args, kwargs))
        return compiled(*args, **kwargs)

    return cast(F, call)


def _as_argument(value: Any) -> Any:
    if value is None or keras.ops.is_tensor(value):
        return value
    if isinstance(value, keras.Variable):
        return value.value
    if isinstance(value, numbers.Number | np.ndarray | np.generic) and np.asarray(value).dtype.kind in "biuf":
        # As Keras has it: Python numbers take its default dtypes, arrays keep their own.
        return keras.ops.convert_to_tensor(value)
    raise StepError(
        f"an argument of type {type(value).__name__}",
        allowed="arrays, tensors and numbers, in tuples, lists and dicts, or None",
        mend="let the function close over it instead: def step(x): ... uses names defined around it",
    )
