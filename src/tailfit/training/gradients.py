"""`tailfit.value_and_grad`: the loss of a forward function and its gradients, on every backend."""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from contextvars import ContextVar
from typing import Any

import keras

from tailfit.contexts import assigned
from tailfit.errors import StepError
from tailfit.training.backends import engine

__all__ = ["scaled_by", "value_and_grad"]

# The model whose step is running: its optimizer may scale the loss (mixed precision).
_stepping: ContextVar[keras.Model | None] = ContextVar("stepping", default=None)


def value_and_grad(
    fn: Callable[..., Any], variables: Sequence[keras.Variable] = (), *, inputs: Sequence[Any] = ()
) -> tuple[Any, list[Any]]:
    """Return the loss that `fn` computes and its gradients with respect to `variables` and `inputs`.

    Calls can be nested, for the gradient of a gradient. Loss scaling is automatic: inside a step of a `tailfit.Model`
    that differentiates all its trainable variables, the gradients (those of `inputs`, too) are scaled as the
    optimizer's `apply` expects, and the loss returned is unscaled. Do not scale the loss in `fn`.

    Args:
        fn: Function without arguments, or of the `inputs`. It returns the loss, a scalar, or `(loss, aux)`, where aux
            is tensors in tuples, lists and dicts. Changes it makes to Keras state (BatchNormalization, seeds, metrics)
            are kept.
        variables: Keras variables to differentiate with respect to, e.g. `model.trainable_variables`.
        inputs: Float tensors to differentiate with respect to; `fn` is called with them, one argument each. For a
            gradient penalty, a saliency map or an adversarial example.
    Returns:
        `(loss, gradients)` or `((loss, aux), gradients)`: the result of `fn`, and one gradient for each variable and
        then each input, in its shape. If the loss does not depend on a variable, its gradient is None on TensorFlow
        and PyTorch and zeros on JAX, as in Keras; Keras' optimizers take both.
    Raises:
        StepError: If `fn` does not return a scalar loss; if there is nothing to differentiate with respect to (a model
            that is not built has no variables); if `variables` has an object that is not a Keras variable, or `inputs`
            one that is not a float tensor.

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
            expected="at least one variable to differentiate with respect to",
            fix="build the model before its first step (call it on a batch, or call model.build), or unfreeze a layer",
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
                expected="a scalar loss, or a pair (loss, aux)",
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
        expected="a list of float tensors",
        fix="pass inputs=[x] with x of floats; integers have no gradient, but their embedding has",
    )


def _scale_for(variables: Sequence[Any]) -> Callable[[Any], Any]:
    model = _stepping.get()
    if model is None or not _scales(model.optimizer):
        return _unscaled
    if not variables or {id(v) for v in variables} != {id(v) for v in model.trainable_variables}:
        return _unscaled  # variables of another optimizer
    scale: Callable[[Any], Any] = model.optimizer.scale_loss
    return scale


def _scales(optimizer: Any) -> bool:
    return isinstance(optimizer, keras.optimizers.LossScaleOptimizer) or (
        getattr(optimizer, "loss_scale_factor", None) is not None
    )


def _unscaled(loss: Any) -> Any:
    return loss


def scaled_by(model: keras.Model) -> AbstractContextManager[None]:
    """Return a context in which gradients of all of the model's variables are scaled as its optimizer expects."""
    return assigned(_stepping, model)
