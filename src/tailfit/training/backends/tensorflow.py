"""TensorFlow: variables change in place inside a `tf.function`; a tape records gradients."""

from collections.abc import Callable, Sequence
from typing import Any

import keras
import tensorflow as tf

from tailfit.keras_private import true_step_numbers

__all__ = ["COMPILES", "Trainer", "function", "random_state", "set_random_state", "value_and_grad"]

COMPILES = True  # whether `function` makes programs


def value_and_grad(
    fn: Callable[..., tuple[Any, Any]], variables: Sequence[Any], inputs: Sequence[Any], scale: Callable[[Any], Any]
) -> tuple[tuple[Any, Any], list[Any]]:
    values = [v.value for v in variables]
    with tf.GradientTape() as tape:
        # Trainable variables are watched by themselves; the others on request only.
        tape.watch([value for value, v in zip(values, variables, strict=True) if not v.trainable])
        tape.watch(inputs)
        loss, aux = fn(*inputs)
        scaled = scale(loss)
    return (loss, aux), tape.gradient(scaled, [*values, *inputs])


def function(fn: Callable[..., Any]) -> Callable[..., Any]:
    # Without autograph a Python `if` on a tensor fails here as it does on JAX, instead of working on TensorFlow
    # only; without reduce_retracing a new shape is traced as it is, also as on JAX.
    return tf.function(fn, reduce_retracing=False, autograph=False)  # type: ignore[no-any-return]


def random_state() -> dict[str, Any]:
    return {"generator": tf.random.get_global_generator().state.numpy()}


def set_random_state(state: dict[str, Any]) -> None:
    tf.random.get_global_generator().state.assign(state["generator"])


class Trainer(keras.Model):
    """Keras' own trainer; only the step it compiles is ours."""

    train_function: Any = None
    test_function: Any = None

    _run_train_step: Callable[[Any], Any]  # given by tailfit.Model
    _run_test_step: Callable[[Any], Any]

    def make_train_function(self, force: bool = False) -> None:
        if self.train_function is None or force:
            self.train_function = self._make_function(self._run_train_step)

    def make_test_function(self, force: bool = False) -> None:
        if self.test_function is None or force:
            self.test_function = self._make_function(self._run_test_step)

    def _maybe_symbolic_build(self, iterator: Any = None, data_batch: Any = None) -> None:
        true_step_numbers(iterator)
        # Keras leaves building to the first step here (not on JAX and torch), where `trainable_variables` would be
        # empty when a train_step asks for them. The shapes come from the data set's specification: reading a
        # batch for them would take it from a generator.
        if self._distribute_strategy is not None or all(layer.built for layer in self._flatten_layers()):
            super()._maybe_symbolic_build(iterator, data_batch)
            return
        if iterator is not None:
            specification = iterator._distributed_dataset.element_spec
            data_batch = keras.tree.map_structure(
                lambda part: None if isinstance(part, tf.OptionalSpec) else part, specification
            )
        if all(part is None or part.shape.rank is not None for part in keras.tree.flatten(data_batch)):
            self._symbolic_build(data_batch=data_batch)
