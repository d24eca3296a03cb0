"""Gradients of a forward function, the same call on every backend."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import keras

from tailfit.errors import StepError
from tailfit.training.backends import engine

__all__ = ["scaled_by", "value_and_grad"]

# The model whose step is running: its optimizer may want the loss scaled (mixed precision).
_stepping: ContextVar[keras.Model | None] = ContextVar("stepping", default=None)


def value_and_grad(fn: Callable[[], Any], variables: Sequence[keras.Variable]) -> tuple[Any, list[Any]]:
    """The loss that `fn` computes and its gradients with respect to `variables`.

    Calls can be nested (the gradient of a gradient). Inside a `tailfit.Model` step that differentiates all
    trainable variables of the model, an optimizer with loss scaling is served by itself: the loss returned
    is unscaled, the gradients are what that optimizer's `apply` expects. Do not scale the loss in `fn` too.

    Args:
        fn: Takes nothing; returns the loss, a scalar, or `(loss, anything)` where anything is tensors in
            tuples, lists and dicts. Keras state that it changes (BatchNormalization, seeds, metrics) is kept.
        variables: Keras variables to differentiate by, e.g. `model.trainable_variables`.
    Returns:
        `(loss, gradients)`, or `((loss, anything), gradients)`: what `fn` returned, and one gradient a
        variable in the shape of the variable. Where the loss does not depend on a variable its gradient is
        None on TensorFlow and PyTorch and zeros on JAX, as in Keras: all Keras optimizers take both.
    Raises:
        StepError: `fn` returned no scalar loss, `variables` is empty (a model that is not built has none), or
            something in it is no Keras variable.

    >>> import keras, tailfit
    >>> w = keras.Variable([1.0, 2.0])
    >>> loss, (gradient,) = tailfit.value_and_grad(lambda: keras.ops.sum(w * w), [w])
    >>> float(loss), keras.ops.convert_to_numpy(gradient).tolist()
    (5.0, [2.0, 4.0])
    """
    variables = list(variables)
    for position, variable in enumerate(variables):
        if not isinstance(variable, keras.Variable):
            raise StepError(
                f"variables[{position}] of type {type(variable).__name__}",
                allowed="Keras variables",
                mend="pass model.trainable_variables or keras.Variable objects, not their values",
            )
    if not variables:
        raise StepError(
            "no variables",
            allowed="at least one variable to differentiate by",
            mend="build the model before its first step (call it on a batch, or model.build); unfreeze a layer",
        )
    paired = False

    def forward() -> tuple[Any, Any]:
        nonlocal paired
        result = fn()
        paired = isinstance(result, tuple)
        loss, aux = result if isinstance(result, tuple) and len(result) == 2 else (result, None)
        if isinstance(loss, tuple | list | dict) or not hasattr(loss, "shape") or tuple(loss.shape) != ():
            got = f"a loss of shape {tuple(loss.shape)}" if hasattr(loss, "shape") else type(result).__name__
            raise StepError(
                f"{got} from the function given to value_and_grad",
                allowed="a scalar loss, or a pair (loss, anything)",
                mend="reduce the per-sample losses, e.g. with keras.ops.mean",
            )
        return loss, aux

    (loss, aux), gradients = engine.value_and_grad(forward, variables, _scale_for(variables))
    return ((loss, aux) if paired else loss), list(gradients)


def _scale_for(variables: Sequence[Any]) -> Callable[[Any], Any]:
    model = _stepping.get()
    if model is None or not _scales(model.optimizer):
        return _unscaled
    if {id(v) for v in variables} != {id(v) for v in model.trainable_variables}:
        return _unscaled  # some other optimizer's variables
    scale: Callable[[Any], Any] = model.optimizer.scale_loss
    return scale


def _scales(optimizer: Any) -> bool:
    return isinstance(optimizer, keras.optimizers.LossScaleOptimizer) or (
        getattr(optimizer, "loss_scale_factor", None) is not None
    )


def _unscaled(loss: Any) -> Any:
    return loss


@contextmanager
def scaled_by(model: keras.Model) -> Iterator[None]:
    """Within, gradients of all of the model's variables are scaled as its optimizer expects."""
    token = _stepping.set(model)
    try:
        yield
    finally:
        _stepping.reset(token)
