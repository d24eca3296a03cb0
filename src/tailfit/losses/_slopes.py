"""Gradients in closed form, for formulas whose derivative takes fewer passes over the scores than autograd's.

TensorFlow and torch run a formula operation by operation, and its gradient likewise: each operation reads and writes
`(batch, C)` numbers. XLA fuses them, so JAX differentiates the formula itself.
"""

from collections.abc import Callable, Sequence
from typing import Any

import keras
from keras import ops

from tailfit.targets import Tensor

__all__ = ["Slope", "add_into", "multiply_into", "subtract_into", "with_slopes"]

Slope = Callable[[], Tensor]


def with_slopes(formula: Callable[..., tuple[Tensor, Sequence[Slope]]], *arguments: Tensor) -> Tensor:
    """Return the per-sample values of a formula, whose gradients are its slopes.

    Args:
        formula: Returns the values `(batch, ...)` of its arguments, and for each argument a function that computes
            the derivative of the values by it, as a new tensor in the shape of the argument. Both consist of
            `keras.ops`, so slopes can be differentiated again. The formula must not read variables.
        arguments: Logits and other tensors `(batch, ..., C)`, of one shape.
    """
    if keras.backend.backend() == "jax":
        return formula(*arguments)[0]

    @ops.custom_gradient
    def call(*given: Tensor) -> tuple[Tensor, Callable[..., tuple[Tensor | None, ...]]]:
        values, slopes = formula(*given)

        def gradients(*recorded: Tensor, upstream: Tensor = None) -> tuple[Tensor | None, ...]:
            if upstream is None:  # TensorFlow passes it as the only argument, and records the operations on `given`
                upstream, recorded = recorded[0], given
            upstream = ops.expand_dims(upstream, -1)
            # torch does not record those: for second derivatives, compute the slopes from the tensors that it passes.
            current = formula(*recorded)[1] if _differentiated(recorded) else slopes
            return tuple(
                multiply_into(slope(), upstream) if getattr(argument, "requires_grad", True) else None
                for argument, slope in zip(recorded, current, strict=True)
            )

        return values, gradients

    return call(*arguments)


def multiply_into(values: Tensor, factor: Any) -> Tensor:
    """Return `values * factor`. The values must not be used any more: on torch, the product takes their memory.

    A product in new memory takes several times as long.
    """
    if _can_overwrite(values, factor):
        values *= factor
        return values
    return values * factor


def add_into(values: Tensor, summand: Any) -> Tensor:
    """Return `values + summand`. The values must not be used any more, as in `multiply_into`."""
    if _can_overwrite(values, summand):
        values += summand
        return values
    return values + summand


def subtract_into(values: Tensor, subtrahend: Any) -> Tensor:
    """Return `values - subtrahend`. The values must not be used any more, as in `multiply_into`."""
    if _can_overwrite(values, subtrahend):
        values -= subtrahend
        return values
    return values - subtrahend


def _can_overwrite(values: Any, other: Any) -> bool:
    """Return whether neither has a gradient on torch, so that no recorded operation needs the values."""
    return not getattr(values, "requires_grad", True) and not getattr(other, "requires_grad", False)


def _differentiated(arguments: Sequence[Any]) -> bool:
    """Return whether torch records the operations of a backward pass (`create_graph=True`)."""
    if keras.backend.backend() != "torch":
        return False
    return any((argument[:0] * 1.0).requires_grad for argument in arguments)
