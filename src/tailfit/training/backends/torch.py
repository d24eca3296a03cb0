"""PyTorch: variables change in place; a step is recorded and repeated, or compiled with `jit_compile=True`."""

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import partial, wraps
from typing import Any

import keras
import numpy as np
import torch

from tailfit.errors import StepError
from tailfit.keras_private import get_keras_mask, set_keras_mask, true_step_numbers
from tailfit.training.backends.epoch_results import EpochResults, Kind
from tailfit.training.backends.idle_hooks import logs_unread
from tailfit.training.backends.torch_batches import read_arrays_directly
from tailfit.training.backends.torch_graph import Traced, enabled, numbers_around, numbers_of
from tailfit.training.backends.torch_transport import connect

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

COMPILES = False

_nesting = threading.local()


def value_and_grad(
    fn: Callable[..., tuple[Any, Any]], variables: Sequence[Any], inputs: Sequence[Any], scale: Callable[[Any], Any]
) -> tuple[tuple[Any, Any], list[Any]]:
    depth = getattr(_nesting, "depth", 0)
    _nesting.depth = depth + 1
    values = [v.value for v in variables]
    frozen = [value for value in values if not value.requires_grad]
    # An input that depends on variables of an outer call stays in its graph.
    inputs = [part if part.requires_grad else part.detach().requires_grad_() for part in inputs]
    try:
        for value in frozen:
            value.requires_grad_(True)
        with torch.enable_grad():
            loss, aux = fn(*inputs)
            # The outer call differentiates the gradients of an inner call.
            gradients = torch.autograd.grad(scale(loss), [*values, *inputs], allow_unused=True, create_graph=depth > 0)
    finally:
        for value in frozen:
            value.requires_grad_(False)
        _nesting.depth = depth
    if depth == 0:
        # The graph has been freed; values that are kept must not refer to it.
        loss = _detach(loss)
        # A single tensor, the usual case, by itself: walking a tree takes a hundredth of a small step.
        aux = _detach(aux) if isinstance(aux, torch.Tensor) else keras.tree.map_structure(_detach, aux)
    return (loss, aux), list(gradients)


def _detach(value: Any) -> Any:
    if not isinstance(value, torch.Tensor):
        return value
    detached, mask = value.detach(), get_keras_mask(value)
    if mask is not None:
        set_keras_mask(detached, mask)
    return detached


def function(fn: Callable[..., Any], *, compiled: bool = True) -> Callable[..., Any]:
    def step(*args: Any, **kwargs: Any) -> Any:
        with torch.no_grad():
            return keras.tree.map_structure(_own, fn(*args, **kwargs))

    name = getattr(fn, "__qualname__", repr(fn))
    traced = Traced(step, name, partial(numbers_around, fn)) if compiled and enabled() else step

    @wraps(fn)
    def call(*args: Any, **kwargs: Any) -> Any:
        if getattr(_nesting, "depth", 0):  # called by a forward function, which needs the graph
            return fn(*args, **kwargs)
        return traced(*args, **kwargs)

    return call


def _own(value: Any) -> Any:
    """Return a copy of a parameter, which the next step changes in place; other values unchanged."""
    return value.detach().clone() if isinstance(value, torch.nn.Parameter) else value


def settings() -> dict[str, Any]:
    return {
        "threads": torch.get_num_threads(),
        "default_dtype": str(torch.get_default_dtype()).removeprefix("torch."),
        "deterministic": torch.are_deterministic_algorithms_enabled(),
        "warn_only": torch.is_deterministic_algorithms_warn_only_enabled(),
        "float32_matmul_precision": torch.get_float32_matmul_precision(),
        "cudnn_benchmark": torch.backends.cudnn.benchmark,
        "cudnn_deterministic": torch.backends.cudnn.deterministic,
    }


def apply_settings(settings: dict[str, Any]) -> None:
    torch.set_num_threads(settings["threads"])
    torch.set_default_dtype(getattr(torch, settings["default_dtype"]))
    torch.use_deterministic_algorithms(settings["deterministic"], warn_only=settings["warn_only"])
    torch.set_float32_matmul_precision(settings["float32_matmul_precision"])
    torch.backends.cudnn.benchmark = settings["cudnn_benchmark"]
    torch.backends.cudnn.deterministic = settings["cudnn_deterministic"]


def next_batches(batches: Any, steps: int) -> Iterator[Any]:
    yield from batches


def outside_traces() -> AbstractContextManager[Any]:
    return nullcontext()


def random_state() -> dict[str, Any]:
    """Return the states of torch's own generators, which torch modules inside Keras layers use."""
    # Asking CUDA for them would initialise it, after which the process can't be forked.
    states = torch.cuda.get_rng_state_all() if torch.cuda.is_initialized() else []  # type: ignore[no-untyped-call]
    devices = {f"cuda.{index}": state for index, state in enumerate(states)}
    return {name: state.numpy() for name, state in {"cpu": torch.get_rng_state(), **devices}.items()}


def check_random_state(state: dict[str, Any]) -> None:
    devices = {"cpu": "cpu"} | {f"cuda.{index}": f"cuda:{index}" for index in range(torch.cuda.device_count())}
    if "cpu" not in state:
        raise ValueError("torch's generator of the CPU is missing")
    for name, words in state.items():
        if words.dtype != np.uint8:
            raise TypeError(f"torch's generator {name}: bytes expected")
        if name in devices:  # of other machines' devices nothing is restored
            torch.Generator(devices[name]).set_state(torch.from_numpy(words))


def seed_generators(seed: int) -> None:
    torch.manual_seed(seed)


def set_random_state(state: dict[str, Any]) -> None:
    torch.set_rng_state(torch.from_numpy(state["cpu"]))
    for index in range(torch.cuda.device_count()):
        if f"cuda.{index}" in state:  # there may have been fewer devices
            torch.cuda.set_rng_state(torch.from_numpy(state[f"cuda.{index}"]), index)


def _refuse_processes() -> None:
    """Refuse a group of processes: Keras 3.16 averages gradients over it with a wrapped model, our steps do not."""
    if not hasattr(keras.Model, "_initialize_ddp"):  # older versions train each process by itself, as tailfit does
        return
    if not (torch.distributed.is_available() and torch.distributed.is_initialized()):
        return
    if (count := torch.distributed.get_world_size()) > 1:
        raise StepError(
            f"tailfit.Model.fit in a torch.distributed group of {count} processes",
            expected="one process: gradients would not be averaged over the others, as keras.Model.fit does",
            fix="train with keras.Model, or call torch.distributed.destroy_process_group() first",
        )


class Trainer(EpochResults):
    """Keras' torch trainer, which runs tailfit's steps under `no_grad`; `value_and_grad` records gradients itself."""

    train_function: Any = None
    test_function: Any = None
    predict_function: Any = None

    steps_per_execution: int
    run_eagerly: bool

    _tailfit_traced: Sequence[Traced] = ()  # the latest ones
    _tailfit_loop: Any  # these are defined by tailfit.Model
    _run_train_step: Callable[[Any], Any]
    _run_test_step: Callable[[Any], Any]

    def _symbolic_build(self, iterator: Any = None, data_batch: Any = None) -> None:
        true_step_numbers(iterator)
        read_arrays_directly(iterator)
        super()._symbolic_build(iterator, data_batch)

    def make_train_function(self, force: bool = False) -> None:
        if self.train_function is None or force:
            _refuse_processes()
            by_parts = self._tailfit_loop is not None and self._tailfit_loop.training
            self.train_function = self._tailfit_loop.train if by_parts else self._stepper(self._run_train_step, "train")

    def make_test_function(self, force: bool = False) -> None:
        if self.test_function is None or force:
            by_parts = self._tailfit_loop is not None and self._tailfit_loop.evaluating
            self.test_function = self._tailfit_loop.evaluate if by_parts else self._stepper(self._run_test_step, "test")

    def make_predict_function(self, force: bool = False) -> None:
        if self.predict_function is None or force:
            self.predict_function = self._stepper(self.predict_step)

    def train(self, mode: bool = True) -> Any:
        # Keras calls this at the beginning of each epoch, and with False before an evaluation.
        for traced in self._tailfit_traced:
            traced.check()
        return super().train(mode)

    def predict(self, *args: Any, **kwargs: Any) -> Any:
        # One step per call: predict keeps all outputs, and Keras' loop would mistake a short last call for the end of
        # the data.
        steps, self.steps_per_execution = self.steps_per_execution, 1
        try:
            return super().predict(*args, **kwargs)
        finally:
            self.steps_per_execution = steps

    def _stepper(self, step: Callable[[Any], Any], kind: Kind | None = None) -> Callable[..., Any]:
        """Return the function that Keras' loops call with the batches of up to `steps_per_execution` steps.

        Args:
            step: Runs one batch.
            kind: Of a step that returns logs. Values that nobody reads are not computed, and are None.
        """

        def one_step(data: Any) -> Any:
            with torch.no_grad():
                return step(data)

        run: Callable[[Any], Any] = one_step
        run_for_changes: Callable[[Any], Any] = one_step  # leaves out what only the logs need
        if self.jit_compile:
            run = run_for_changes = torch.compile(one_step)
        elif enabled() and not self.run_eagerly:
            traced = Traced(one_step, f"{type(self).__name__}.{step.__name__}", partial(numbers_of, self))
            self._tailfit_traced = [*self._tailfit_traced[-2:], traced]
            run, run_for_changes = traced, traced.without_outputs
        names: dict[str, None] | None = None  # of the logs, if they have nothing but results of metrics

        def stepper(batches: Sequence[Any]) -> Any:
            nonlocal names
            *earlier, last = batches
            unread = kind is not None and logs_unread(self, kind)
            for data in earlier:
                run_for_changes(data)
            logs = run_for_changes(last) if unread and names is not None else run(last)
            if logs is None:
                return names
            names = dict.fromkeys(logs) if kind is not None and self._only_results(logs, kind) else None
            return logs

        return stepper
