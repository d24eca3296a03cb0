"""PyTorch: variables change in place and nothing is compiled unless asked for."""

import threading
from collections.abc import Callable, Sequence
from functools import wraps
from typing import Any

import keras
import torch

from tailfit.errors import StepError
from tailfit.keras_private import get_keras_mask, set_keras_mask

__all__ = ["Trainer", "function", "value_and_grad"]

_nesting = threading.local()


def value_and_grad(
    fn: Callable[[], tuple[Any, Any]], variables: Sequence[Any], scale: Callable[[Any], Any]
) -> tuple[tuple[Any, Any], list[Any]]:
    depth = getattr(_nesting, "depth", 0)
    _nesting.depth = depth + 1
    values = [v.value for v in variables]
    frozen = [value for value in values if not value.requires_grad]
    try:
        for value in frozen:
            value.requires_grad_(True)
        with torch.enable_grad():
            loss, aux = fn()
            # The gradients of an inner call are themselves differentiated by the outer one.
            gradients = torch.autograd.grad(scale(loss), values, allow_unused=True, create_graph=depth > 0)
    finally:
        for value in frozen:
            value.requires_grad_(False)
        _nesting.depth = depth
    if depth == 0:
        # The graph is spent: what the step keeps must not hold on to it.
        loss, aux = keras.tree.map_structure(_detach, (loss, aux))
    return (loss, aux), list(gradients)


def _detach(value: Any) -> Any:
    if not isinstance(value, torch.Tensor):
        return value
    detached, mask = value.detach(), get_keras_mask(value)
    if mask is not None:
        set_keras_mask(detached, mask)
    return detached


def function(fn: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(fn)
    def call(*args: Any, **kwargs: Any) -> Any:
        if getattr(_nesting, "depth", 0):  # called inside a forward function: its graph is needed
            return fn(*args, **kwargs)
        with torch.no_grad():
            return keras.tree.map_structure(_own, fn(*args, **kwargs))

    return call


def _own(value: Any) -> Any:
    """A variable's value as it is now: the parameter itself changes with the next step."""
    return value.detach().clone() if isinstance(value, torch.nn.Parameter) else value


class Trainer(keras.Model):
    """Runs `train_step` without recording gradients: `value_and_grad` records its own."""

    train_function: Any = None

    _run_train_step: Callable[[Any], Any]  # given by tailfit.Model

    def make_train_function(self, force: bool = False) -> None:
        if self.train_function is not None and not force:
            return
        if self.steps_per_execution > 1:
            raise StepError(
                f"steps_per_execution={self.steps_per_execution}",
                allowed="1 on the torch backend",
                mend="leave steps_per_execution out of compile()",
            )

        def one_step(data: Any) -> Any:
            with torch.no_grad():
                return self._run_train_step(data[0])

        self.train_function = torch.compile(one_step) if self.jit_compile else one_step
