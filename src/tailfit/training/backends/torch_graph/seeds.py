"""Random numbers of Keras, whose seeds are tensors: a recorded step seeds a generator with them again in each run."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from keras.src.backend.torch import random as keras_random
from keras.src.random.seed_generator import draw_seed

from tailfit.keras_private import Replaced

__all__ = ["seeds_recorded"]

Repeat = Callable[..., Any]

_thread = threading.local()


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
    repeat = getattr(_thread, "repeat", None)
    if repeat is None or device == "meta":
        return own(seed)
    first, second = draw_seed(seed)
    return repeat(Seeded(device), first + second)


_replaced = Replaced(keras_random, "torch_seed_generator", _generator)


@contextmanager
def seeds_recorded(repeat: Repeat) -> Iterator[None]:
    """Make Keras' generators by `repeat(function, seed)` in this thread, within this context."""
    _thread.repeat = repeat
    try:
        with _replaced:
            yield
    finally:
        _thread.repeat = None
