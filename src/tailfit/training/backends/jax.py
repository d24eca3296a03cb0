"""JAX: a step is compiled as a pure function of the variables that it uses (`jax_programs.py`)."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import wraps
from itertools import islice
from typing import Any

import jax
import keras
import numpy as np

from tailfit.keras_private import (
    batches_stay_on_the_host,
    get_keras_mask,
    get_stateless_scope,
    in_stateless_scope,
    initialize_all_variables,
    set_keras_mask,
    true_step_numbers,
    variables_wait_for_values,
)
from tailfit.training.backends.epoch_results import EpochResults
from tailfit.training.backends.jax_fused import Fused
from tailfit.training.backends.jax_held import Picked, held, picked
from tailfit.training.backends.jax_programs import ATTEMPTS, Groups, Program, Scope, makes_variables_anew, unshared
from tailfit.training.backends.jax_transport import connect
from tailfit.training.feed import Feed

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
    outer = get_stateless_scope() if in_stateless_scope() else None
    written: list[Any] = []

    def pure(values: Sequence[Any], inputs: Sequence[Any]) -> tuple[Any, Any]:
        with Scope(list(zip(variables, values, strict=True)), outer) as scope:
            loss, aux = fn(*inputs)
            scaled = scale(loss)
        written[:] = scope.written.values()
        # New values, and the masks of predictions, are returned: as attributes they would be tracers of a finished
        # trace, or lost.
        updates = [scope.state_mapping[id(v)] for v in written]
        return scaled, (loss, aux, updates, [get_keras_mask(part) for part in jax.tree.leaves(aux)])

    values = [v.value for v in variables]
    differentiated = jax.value_and_grad(pure, (0, 1), has_aux=True)
    for _ in range(ATTEMPTS):
        (_scaled, (loss, aux, updates, masks)), (gradients, slopes) = differentiated(values, inputs)
        if outer is not None or not variables_wait_for_values():
            break
        # A layer was built during the trace. It has its weights now: trace again.
        initialize_all_variables()
    else:
        raise makes_variables_anew(ATTEMPTS)
    for part, mask in zip(jax.tree.leaves(aux), masks, strict=True):
        if mask is not None:
            set_keras_mask(part, mask)
    for variable, value in zip(written, updates, strict=True):
        variable.assign(value)
    return (loss, aux), [*gradients, *slopes]


def function(fn: Callable[..., Any], *, compiled: bool = True) -> Callable[..., Any]:
    program = Program(fn, tuple, compiled=compiled)

    @wraps(fn)
    def call(*args: Any, **kwargs: Any) -> Any:
        if in_stateless_scope():  # called by a traced function: part of it
            return fn(*args, **kwargs)
        return program((), *args, **kwargs)[0]

    return call


def settings() -> dict[str, Any]:
    config: Any = jax.config
    return {name: value for name, value in config.values.items() if _is_setting(name, value)}


def apply_settings(settings: dict[str, Any]) -> None:
    config: Any = jax.config
    for name, value in settings.items():
        if name in config.values and config.values[name] != value:
            config.update(name, value)


def _is_setting(name: str, value: Any) -> bool:
    return "cache" not in name and (value is None or isinstance(value, bool | int | float | str))


def next_batches(batches: Any, steps: int) -> Iterator[Any]:
    yield next(batches)  # its StopIteration ends an epoch of unknown length
    yield from islice(batches, steps - 1)


def outside_traces() -> AbstractContextManager[Any]:
    return nullcontext()


def random_state() -> dict[str, Any]:
    return {}  # JAX has no global random state


def check_random_state(state: dict[str, Any]) -> None:
    if state != {}:
        raise ValueError("JAX: no state expected")


def seed_generators(seed: int) -> None:
    pass


def set_random_state(state: dict[str, Any]) -> None:
    pass


def _as_on_device(epoch: Iterable[tuple[int, int, Iterator[Any]]]) -> Iterator[tuple[int, int, Iterator[Any]]]:
    """Yield placeholders for the batches of an epoch, in the shapes and dtypes that they have on the device.

    JAX narrows 64-bit arrays silently when it moves them, but warns (0.11) when a program is described with them.
    """

    def placeholder(part: Any) -> Any:
        if part is None:
            return None
        return np.broadcast_to(np.zeros((), jax.dtypes.canonicalize_dtype(part.dtype)), part.shape)

    def placeholders(batch: Any) -> Any:
        batch = picked(batch)
        described = jax.eval_shape(Picked.batch, batch) if isinstance(batch, Picked) else batch
        return keras.tree.map_structure(placeholder, described)

    for begin, end, batches in epoch:
        yield begin, end, map(placeholders, batches)


class Trainer(EpochResults):
    """Keras' JAX trainer, whose loops call steps that read and assign variables as pure functions of their values."""

    train_function: Any = None
    test_function: Any = None
    predict_function: Any = None

    _tailfit_loop: Any  # these are defined by tailfit.Model
    _run_train_step: Callable[[Any], Any]
    _run_test_step: Callable[[Any], Any]

    def __setattr__(self, name: str, value: Any) -> None:
        # Keras' fit sets it at every step. Layers search the values of attributes for variables and layers, and copy
        # lists and dicts for that, which takes a third of the time that Python spends on a small step.
        if name == "_jax_state":
            object.__setattr__(self, name, value)
        else:
            super().__setattr__(name, value)

    def _symbolic_build(self, iterator: Any = None, data_batch: Any = None) -> None:
        true_step_numbers(iterator)
        if iterator is not None and (self._fuses() or _held_by(iterator)):
            batches_stay_on_the_host(iterator)  # they are stacked there, and moved to the device together
            iterator = _as_on_device(iterator)
        super()._symbolic_build(iterator, data_batch)

    def _get_jax_state(self, purge_model_variables: bool = False, **kwargs: Any) -> Groups:
        loop = self._tailfit_loop
        if loop is not None and (loop.training if "optimizer_variables" in kwargs else loop.evaluating):
            return tuple(() for wanted in kwargs.values() if wanted)  # by parts, the variables keep their values
        # A step donates its values. A value that anything else refers to, such as an array that a callback kept, is
        # copied first.
        self._jax_state = None  # values of the last step, which have been assigned to the variables by now
        state = super()._get_jax_state(purge_model_variables=purge_model_variables, **kwargs)
        holders = 1 if purge_model_variables else 2  # this list, and the variables unless Keras emptied them
        return tuple(unshared(group, holders) for group in state)

    def make_train_function(self, force: bool = False) -> None:
        if self._tailfit_loop is not None and self._tailfit_loop.training:
            self.train_function = lambda state, batches: (self._tailfit_loop.train(batches), state)
        elif self.train_function is None or force:
            self.train_function = self._stepper(
                self._run_train_step,
                lambda: (
                    self.trainable_variables,
                    self.non_trainable_variables,
                    self.optimizer.variables,
                    self.metrics_variables,
                ),
            )

    def make_test_function(self, force: bool = False) -> None:
        if self._tailfit_loop is not None and self._tailfit_loop.evaluating:
            self.test_function = lambda state, batches: (self._tailfit_loop.evaluate(batches), state)
        elif self.test_function is None or force:
            self.test_function = self._stepper(
                self._run_test_step,
                lambda: (self.trainable_variables, self.non_trainable_variables, self.metrics_variables),
            )

    def make_predict_function(self, force: bool = False) -> None:
        if self.predict_function is None or force:
            self.predict_function = self._stepper(
                self.predict_step,
                lambda: (self.trainable_variables, self.non_trainable_variables),
                concatenate_outputs=True,
            )

    def _compiles(self) -> bool:
        return bool(self.jit_compile) and not self.run_eagerly

    def _fuses(self) -> bool:
        return self._compiles() and self.steps_per_execution > 1

    def _stepper(self, step: Callable[[Any], Any], groups: Callable[[], Groups], **kwargs: Any) -> Callable[..., Any]:
        """Return the function that Keras' loops call: `(state, iterator) -> (result, state)`."""
        program = Program(step, groups, compiled=self._compiles())
        fused = self._fuses() and not kwargs  # predict keeps the outputs of every step
        run = Fused(program, self.steps_per_execution) if fused else self._make_function(program, **kwargs)

        def stepper(state: Groups, iterator: Any) -> tuple[Any, Groups]:
            try:
                result: tuple[Any, Groups] = run(state, iterator if kwargs else map(picked, iterator))
            except BaseException:
                # Keras has emptied the variables to save memory, and has their values in this frame only. After an
                # error, an unreadable record say, the trained weights would be lost.
                _assign_back(groups(), run.state if isinstance(run, Fused) else state)
                self._jax_state_synced = True
                raise
            return result

        if isinstance(run, Fused):
            stepper.release = run.release  # type: ignore[attr-defined]
        return stepper

    def _hold(self, feed: Feed) -> None:
        """Keep the samples of a feed on the device, if its `Batches` asks for it and they can be kept."""
        feed.held = held(feed.batches) if self._compiles() else None

    def fit(self, *args: Any, **kwargs: Any) -> Any:
        try:
            return super().fit(*args, **kwargs)
        finally:
            _release(self.train_function)

    def evaluate(self, *args: Any, **kwargs: Any) -> Any:
        try:
            return super().evaluate(*args, **kwargs)
        finally:
            _release(self.test_function)


def _held_by(iterator: Any) -> bool:
    return getattr(getattr(iterator.data_adapter, "py_dataset", None), "held", None) is not None


def _release(stepper: Any) -> None:
    getattr(stepper, "release", lambda: None)()


def _assign_back(groups: Groups, state: Groups) -> None:
    for group, values in zip(groups, state, strict=True):
        for variable, value in zip(group, values, strict=True):
            if not value.is_deleted():  # else it was donated to the step that failed
                variable.assign(value)
