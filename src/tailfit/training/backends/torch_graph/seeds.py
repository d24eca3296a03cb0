"""Random numbers of Keras, whose seeds are tensors: a recorded step seeds a generator with them again in each run."""

from collections.abc import Callable
from typing import Any

import torch
from keras.src.backend.torch import random as keras_random
from keras.src.random.seed_generator import draw_seed

from tailfit.keras_private import Replaced
from tailfit.whole_calls import call_whole, whole_calls_recorded

__all__ = ["seeds_recorded"]


class Seeded:
    """Seeds a generator of its own; all instances for a device are equal, since they do the same."""

    def __init__(self, device: Any) -> None:
        self._device = str(device)
        self._generator = torch.Generator(device=device)

    def __call__(self, total: torch.Tensor) -> torch.Generator:
        self._generator.manual_seed(int(total) & 0xFFFFFFFF)  # as in Keras
        return self._generator

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Seeded) and self._device == other._device

    def __hash__(self) -> int:
        return hash(self._device)


def _generator(own: Callable[..., Any], seed: Any) -> Any:
    device = keras_random.get_device()
    if device == "meta" or not whole_calls_recorded():
        return own(seed)
    first, second = draw_seed(seed)
    return call_whole(Seeded(device), first + second)


seeds_recorded = Replaced(keras_random, "torch_seed_generator", _generator)
"""Context in which a step that is being recorded seeds Keras' generators by whole calls."""
