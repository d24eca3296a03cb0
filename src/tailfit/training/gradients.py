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


def value_and_grad(
    fn: Callable[..., Any], variables: Sequence[keras.Variable] = (), *, inputs: Sequence[Any] = ()
) -> tuple[Any, list[Any]]:
    """The loss that `fn` computes and its gradients with respect to `variables` and `inputs`.

    Calls can be nested (the gradient of a gradient). Inside a `tailfit.Model` step that differentiates all
    trainable variables of the model, an optimizer with loss scaling is served by itself: the loss returned
    is unscaled, the gradients (those of `inputs` of the same call, too) are what that optimizer's `apply` expects. Do
    not scale the loss in `fn` too.

    Args:
        fn: Takes nothing, or the `inputs`; returns the loss, a scalar, or `(loss, anything)` where anything is tensors
            in tuples, lists and dicts. Keras state that it changes (BatchNormalization, seeds, metrics) is kept.
        variables: Keras variables to differentiate by, e.g. `model.trainable_variables`.
        inputs: Tensors of floats to differentiate by, with which `fn` is then called, one argument each: records
            for a gradient penalty, a saliency map, an adversarial example.
    Returns:
        `(loss, gradients)`, or `((loss, anything), gradients)`: what `fn` returned, and one gradient a
        variable, then one an input, each in the shape of what it is of. Where the loss does not depend on a
        variable its gradient is None on TensorFlow and PyTorch and zeros on JAX, as in Keras: all Keras
        optimizers take both.
    Raises:
        StepError: `fn` returned no scalar loss; there is nothing to differentiate by (a model that is not built has
            no variables); something in `variables` is no Keras variable, or in `inputs` no tensor of floats.

    >>> import keras, tailfit
    >>> w = keras.Variable([1.0, 2.0])
    >>> loss, (gradient,) = tailfit.value_and_grad(lambda: keras.ops.sum(w * w), [w])
    >>> float(loss), keras.ops.convert_to_numpy(gradient).tolist()
    (5.0, [2.0, 4.0])
    >>> _, (slope,) = tailfit.value_and_grad(lambda x: keras.ops.sum(w * x * x), inputs=[keras.ops.ones((2,))])
    >>> keras.ops.convert_to_numpy(slope).tolist()
    [2.0, 4.0]
    """
    variables, tensors = list(variables), _as_tensors(inputs)
    for position, variable in enumerate(variables):
        if not isinstance(variable, keras.Variable):
            raise StepError(
                f"variables[{position}] of type {type(variable).__name__}",
                expected="Keras variables",
                fix="pass model.trainable_variables or keras.Variable objects, not their values",
            )
    if not variables and not tensors:
        raise StepError(
            "no variables",
            expected="at least one variable to differentiate by",
            fix="build the model before its first step (call it on a batch, or model.build); unfreeze a layer",
        )
    paired = False

    def forward(*tensors: Any) -> tuple[Any, Any]:
        nonlocal paired
        result = fn(*tensors)
        paired = isinstance(result, tuple)
        loss, aux = result if isinstance(result, tuple) and len(result) == 2 else (result, None)
        if isinstance(loss, tuple | list | dict) or not hasattr(loss, "shape") or tuple(loss.shape) != ():
            got = f"a loss of shape {tuple(loss.shape)}" if hasattr(loss, "shape") else type(result).__name__
            raise StepError(
                f"{got} from the function given to value_and_grad",
                expected="a scalar loss, or a pair (loss, anything)",
                fix="reduce the per-sample losses, e.g. with keras.ops.mean",
            )
        return loss, aux

    (loss, aux), gradients = engine.value_and_grad(forward, variables, tensors, _scale_for(variables))
    return ((loss, aux) if paired else loss), list(gradients)


def _as_tensors(inputs: Sequence[Any]) -> list[Any]:
    if isinstance(inputs, tuple | list):
        tensors = [keras.ops.convert_to_tensor(part) for part in inputs]
        bad = [n for n, part in enumerate(tensors) if "float" not in keras.backend.standardize_dtype(part.dtype)]
        if not bad:
            return tensors
        got = f"inputs[{bad[0]}] of {keras.backend.standardize_dtype(tensors[bad[0]].dtype)}"
    else:
        got = f"inputs of type {type(inputs).__name__}"
    raise StepError(
        got,
        expected="a list of tensors of floats",
        fix="pass inputs=[x]; a whole number has no gradient: differentiate by its embedding",
    )


def _scale_for(variables: Sequence[Any]) -> Callable[[Any], Any]:
    model = _stepping.get()
    if model is None or not _scales(model.optimizer):
        return _unscaled
    if not variables or {id(v) for v in variables} != {id(v) for v in model.trainable_variables}:
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
