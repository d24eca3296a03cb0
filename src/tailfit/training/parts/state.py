"""The state that pieces change, and the seeds of their random numbers."""

import hashlib
from typing import Any

import keras
import numpy as np

from tailfit import keras_private as private
from tailfit.hashing import hash_words
from tailfit.training.backends import compiled_state, engine
from tailfit.training.reachable import reachable

__all__ = ["Seeds", "State"]

_WORD = (1 << 30) - 1  # seeds have 30 bits: torch adds both words as int32


class State:
    """The variables of a model that a piece may change, apart from its weights, optimizer and compiled metrics.

    Attributes:
        averaged: Float state of layers.
        added: All other state: counters of layers, and the state of losses and steps.
        seeds: States of the seed generators.
    """

    def __init__(self, model: Any, others: Any) -> None:
        known = {id(variable) for variable in compiled_state.weights_of_layers(model)}
        known |= {id(variable) for variable in _not_of_pieces(model)}
        of_layers = {id(variable) for variable in model.variables}
        self.averaged: list[Any] = []
        self.added: list[Any] = []
        self.seeds: list[Any] = []
        for variable in [*model.variables, *reachable([vars(model), others], set())]:
            if id(variable) in known:
                continue
            known.add(id(variable))
            if variable.name == "seed_generator_state" and tuple(variable.shape) == (2,):
                self.seeds.append(variable)
            elif _is_averaged(variable, id(variable) in of_layers):
                self.averaged.append(variable)
            else:
                self.added.append(variable)

    @property
    def variables(self) -> list[Any]:
        """All of them."""
        return [*self.averaged, *self.added, *self.seeds]


def _is_averaged(variable: Any, of_layer: bool) -> bool:
    if "float" not in keras.backend.standardize_dtype(variable.dtype):
        return False
    aggregation = getattr(variable, "aggregation", "none")
    return of_layer if aggregation in (None, "none") else aggregation == "mean"


def _not_of_pieces(model: Any) -> list[Any]:
    optimizer = [] if model.optimizer is None else list(model.optimizer.variables)
    return [*optimizer, *model.trainable_variables, *compiled_state.compiled_metrics_variables(model)]


class Seeds:
    """Seeds of a step: each piece draws its own random numbers, which depend on the seeds and its index alone.

    Args:
        variables: States of the seed generators.
    """

    def __init__(self, variables: list[Any]) -> None:
        shared = private.known_global_seed()
        self._variables = variables
        self._shared = None if shared is None or any(v is shared.state for v in variables) else shared.state
        self._values = [np.array(keras.ops.convert_to_numpy(variable.value)) for variable in self._all()]
        own = engine.random_state()
        first = next(iter(own.values()), None)  # of several devices, all were seeded alike
        self._own = None if first is None else hashlib.blake2b(first.tobytes(), digest_size=8).digest()
        self._state = own

    def _all(self) -> list[Any]:
        return self._variables if self._shared is None else [*self._variables, self._shared]

    def begin_piece(self, piece: int) -> Any:
        """Seed the generators that no variable of the model holds, and return the seeds of the others, `(n, 2)`."""
        self._seed_backend(piece + 1)
        seeds = [_seed(value, piece) for value in self._values]
        if self._shared is not None:
            self._shared.assign(np.asarray(seeds.pop(), self._values[-1].dtype))
        return np.array(seeds, np.int32).reshape(-1, 2)

    def end(self) -> None:
        """Advance all generators by one, whatever the pieces have drawn."""
        for variable, value in zip(self._all(), self._values, strict=True):
            variable.assign(value + np.array([0, 1], value.dtype))
        self._seed_backend(0)

    def restore(self) -> None:
        """Undo what pieces have drawn."""
        for variable, value in zip(self._all(), self._values, strict=True):
            variable.assign(value)
        if self._own is not None:
            engine.set_random_state(self._state)

    def _seed_backend(self, number: int) -> None:
        if self._own is not None:
            engine.seed_generators(hash_words(int.from_bytes(self._own, "little"), number) & _WORD)


def _seed(value: Any, piece: int) -> list[int]:
    key = hash_words(*(int(word) % (1 << 64) for word in value), piece)
    return [key & _WORD, (key >> 32) & _WORD]
