"""Copies of what a step changes, with which it can be undone or compared."""

from collections.abc import Sequence
from typing import Any

import torch

__all__ = ["State", "same_numbers"]

_AFFORDABLE = 1 << 28  # bytes


class State:
    """Copies of tensors, and of the states of torch's generators.

    Args:
        tensors: The tensors.
        random: Whether the generators are included.
    """

    def __init__(self, tensors: Sequence[torch.Tensor], random: bool) -> None:
        self._tensors = tensors
        self._copies = [tensor.detach().clone() for tensor in tensors]
        self._random = torch.get_rng_state() if random else None
        cuda = random and torch.cuda.is_initialized()  # type: ignore[no-untyped-call]
        self._cuda: list[Any] = torch.cuda.get_rng_state_all() if cuda else []

    @staticmethod
    def affordable(tensors: Sequence[torch.Tensor]) -> bool:
        """Return whether there is memory for copies of the tensors."""
        return sum(tensor.nbytes for tensor in tensors) <= _AFFORDABLE

    def restore(self) -> None:
        """Set everything to the values that it had."""
        with torch.no_grad():
            for tensor, copy in zip(self._tensors, self._copies, strict=True):
                tensor.copy_(copy)
        if self._random is not None:
            torch.set_rng_state(self._random)
        if self._cuda:
            torch.cuda.set_rng_state_all(self._cuda)

    def is_now(self) -> bool:
        """Return whether the tensors have their values now."""
        return all(
            same_numbers(tensor.detach(), copy) for tensor, copy in zip(self._tensors, self._copies, strict=True)
        )


def same_numbers(one: torch.Tensor, other: torch.Tensor) -> bool:
    """Return whether two tensors are equal, up to the rounding of sums in another order."""
    if one.shape != other.shape or one.dtype != other.dtype:
        return False
    if not one.is_floating_point():
        return torch.equal(one, other)
    tolerance = 1e-5 if one.dtype in (torch.float32, torch.float64) else 1e-2
    return torch.allclose(one, other, rtol=tolerance, atol=tolerance, equal_nan=True)
