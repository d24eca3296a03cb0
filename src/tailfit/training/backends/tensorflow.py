"""TensorFlow: variables change in place inside a `tf.function`; a tape records gradients."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from typing import Any

import keras
import tensorflow as tf

from tailfit.errors import StepError
from tailfit.keras_private import true_step_numbers
from tailfit.training.backends.epoch_results import EpochResults

__all__ = [
    "COMPILES",
    "Trainer",
    "apply_settings",
    "check_random_state",
    "connect",
    "function",
    "next_batches",
    "outside_traces",
    "random_state",
    "seed_generators",
    "set_random_state",
    "settings",
    "value_and_grad",
]

COMPILES = True


def value_and_grad(
    fn: Callable[..., tuple[Any, Any]], variables: Sequence[Any], inputs: Sequence[Any], scale: Callable[[Any], Any]
) -> tuple[tuple[Any, Any], list[Any]]:
    values = [v.value for v in variables]
    with tf.GradientTape() as tape:
        # Trainable variables are watched automatically.
        tape.watch([value for value, v in zip(values, variables, strict=True) if not v.trainable])
        tape.watch(inputs)
        loss, aux = fn(*inputs)
        scaled = scale(loss)
    return (loss, aux), tape.gradient(scaled, [*values, *inputs])


def function(fn: Callable[..., Any], *, compiled: bool = True) -> Callable[..., Any]:
    if not compiled:
        return fn
    # As on JAX: without autograph, a Python `if` on a tensor fails; without reduce_retracing, each new shape is traced.
    return tf.function(fn, reduce_retracing=False, autograph=False)  # type: ignore[no-any-return]


def settings() -> dict[str, Any]:
    return {
        "intra_op_threads": tf.config.threading.get_intra_op_parallelism_threads(),
        "inter_op_threads": tf.config.threading.get_inter_op_parallelism_threads(),
        "tensor_float_32": tf.config.experimental.tensor_float_32_execution_enabled(),
        "functions_run_eagerly": tf.config.functions_run_eagerly(),
    }


def apply_settings(settings: dict[str, Any]) -> None:
    threading = tf.config.threading
    if settings["intra_op_threads"] != threading.get_intra_op_parallelism_threads():  # refused once it has computed
        threading.set_intra_op_parallelism_threads(settings["intra_op_threads"])
    if settings["inter_op_threads"] != threading.get_inter_op_parallelism_threads():
        threading.set_inter_op_parallelism_threads(settings["inter_op_threads"])
    tf.config.experimental.enable_tensor_float_32_execution(settings["tensor_float_32"])
    tf.config.run_functions_eagerly(settings["functions_run_eagerly"])


def next_batches(batches: Any, steps: int) -> Iterator[Any]:
    yield next(batches)  # its StopIteration ends an epoch of unknown length
    for _ in range(steps - 1):
        batch = next(batches, None)
        if batch is None:
            return
        yield batch


def outside_traces() -> AbstractContextManager[Any]:
    scope: AbstractContextManager[Any] = tf.init_scope()
    return scope


def random_state() -> dict[str, Any]:
    return {"generator": tf.random.get_global_generator().state.numpy()}


def check_random_state(state: dict[str, Any]) -> None:
    known, words = random_state()["generator"], state["generator"]
    if (words.dtype, words.shape) != (known.dtype, known.shape):
        raise ValueError(f"TensorFlow's generator: {len(known)} whole numbers expected")


def seed_generators(seed: int) -> None:
    tf.random.get_global_generator().reset_from_seed(seed)


def set_random_state(state: dict[str, Any]) -> None:
    tf.random.get_global_generator().state.assign(state["generator"])


def connect(rank: int, world: int, address: str, port: int, timeout: float, *, loopback: bool) -> Any:
    """Refuse: servers of TensorFlow listen on 0.0.0.0, whatever address they are given."""
    raise StepError(
        f"{world} workers on TensorFlow",
        expected="the backend jax or torch for more than one worker: TensorFlow exchanges arrays through servers, "
        "which listen on all network interfaces",
        fix="set KERAS_BACKEND=jax or torch; compile(parts=) in one process works on TensorFlow, too",
    )


class Trainer(EpochResults):
    """Keras' TensorFlow trainer, which compiles tailfit's steps."""

    train_function: Any = None
    test_function: Any = None

    _tailfit_loop: Any  # these are defined by tailfit.Model
    _run_train_step: Callable[[Any], Any]
    _run_test_step: Callable[[Any], Any]

    def make_train_function(self, force: bool = False) -> None:
        if self.train_function is None or force:
            by_parts = self._tailfit_loop is not None and self._tailfit_loop.training
            self.train_function = self._tailfit_loop.train if by_parts else self._make_function(self._run_train_step)

    def make_test_function(self, force: bool = False) -> None:
        if self.test_function is None or force:
            by_parts = self._tailfit_loop is not None and self._tailfit_loop.evaluating
            self.test_function = self._tailfit_loop.evaluate if by_parts else self._make_function(self._run_test_step)

    def _maybe_symbolic_build(self, iterator: Any = None, data_batch: Any = None) -> None:
        true_step_numbers(iterator)
        # On TensorFlow only, Keras builds the model inside the first step, after a train_step has read the empty
        # `trainable_variables`. Build it before. The shapes are those of the data set's specification: reading a batch
        # would consume one of a generator.
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
