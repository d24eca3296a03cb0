"""The network of a fitted estimator: built by a function with a seed, and pickled as that function and arrays."""

from collections.abc import Callable
from typing import Any, TypeAlias

import keras
import numpy as np

from tailfit.errors import ArgumentError
from tailfit.training import Model
from tailfit.training.generators import seeded

__all__ = ["ModelFn", "Network", "dense_network"]

Shape: TypeAlias = tuple[int, ...]
ModelFn: TypeAlias = Callable[[Shape, int], keras.Model]


def dense_network(input_shape: Shape, num_classes: int, *, units: int = 64) -> keras.Model:
    """Build a network of one hidden layer with ReLU and a dense layer of logits, the default of `Classifier`.

    Args:
        input_shape: Shape of one sample; samples with several axes are flattened.
        num_classes: Number of classes C.
        units: Width of the hidden layer.
    Shapes: input `(batch, *input_shape)`, output logits `(batch, C)`.

    >>> dense_network((8, 8), 3, units=16).output_shape
    (None, 3)
    """
    inputs = keras.Input(input_shape)
    x = keras.layers.Flatten()(inputs) if len(input_shape) > 1 else inputs
    x = keras.layers.Dense(units, activation="relu")(x)
    return Model(inputs, keras.layers.Dense(num_classes)(x))


class Network:
    """A `tailfit.Model` with its optimizer and the function that builds it.

    A pickle contains the function by reference, and the weights and the optimizer's variables as arrays. So the model
    needs no `get_config`, and unpickling runs no code except `model_fn`.

    Args:
        model_fn: Function `model_fn(input_shape, num_classes)` that returns a model with one input and one output.
        input_shape: Shape of one sample.
        num_classes: Number of classes C.
        seed: Seed of the initial weights.
    Raises:
        ArgumentError: If `model_fn` does not return such a model.
    """

    def __init__(self, model_fn: ModelFn, input_shape: Shape, num_classes: int, *, seed: int) -> None:
        self.model_fn, self.input_shape, self.num_classes = model_fn, input_shape, num_classes
        self.optimizer: keras.optimizers.Optimizer | None = None
        with seeded(seed):
            self.model = self._build()

    def _build(self) -> Model:
        if not callable(self.model_fn):
            raise _no_network(f"model_fn={self.model_fn!r}")
        network = self.model_fn(self.input_shape, self.num_classes)
        if not isinstance(network, keras.Model):
            raise _no_network(f"model_fn that returns a {type(network).__name__}")
        model = _as_tailfit_model(network, self.input_shape)
        shape = getattr(model, "output_shape", None)
        if shape != (None, self.num_classes):
            raise ArgumentError(
                f"a network from model_fn with output shape {shape} for {self.num_classes} classes",
                expected=f"one output of shape (batch, {self.num_classes})",
                fix="end the network with keras.layers.Dense(num_classes), using the second argument of model_fn",
            )
        return model

    def __getstate__(self) -> dict[str, Any]:
        optimizer = self.optimizer
        return {
            "built_by": (self.model_fn, self.input_shape, self.num_classes),
            "weights": self.model.get_weights(),
            "optimizer": None if optimizer is None else (type(optimizer), optimizer.get_config()),
            "moments": [] if optimizer is None else [_values(variable) for variable in optimizer.variables],
        }

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(*state["built_by"], seed=0)  # type: ignore[misc]
        # Copies, because a memory-mapped pickle is read-only, and JAX and torch share the memory of the arrays.
        self.model.set_weights([np.array(value) for value in state["weights"]])
        if state["optimizer"] is not None:
            kind, config = state["optimizer"]
            self.optimizer = kind.from_config(config)
            self.optimizer.build(self.model.trainable_variables)
            for variable, value in zip(self.optimizer.variables, state["moments"], strict=True):
                variable.assign(np.array(value))


def _as_tailfit_model(network: keras.Model, input_shape: Shape) -> Model:
    if isinstance(network, Model) and network.built:
        return network
    if getattr(network, "inputs", None):  # functional, or a Sequential that is built
        return Model(network.inputs, network.outputs)
    inputs = keras.Input(input_shape)
    return Model(inputs, network(inputs))


def _values(variable: Any) -> Any:
    return np.array(keras.ops.convert_to_numpy(variable))


def _no_network(received: str) -> ArgumentError:
    return ArgumentError(
        received,
        expected="a function model_fn(input_shape, num_classes) that returns a keras.Model",
        fix="pass a function such as tailfit.networks.dense_network",
    )
