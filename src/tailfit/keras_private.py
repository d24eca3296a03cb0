"""Every private name of Keras that tailfit uses outside its backends; each has a test in test_keras_private.py.

Where Keras has a documented hook, tailfit uses that. These names have none:

| name | why |
|---|---|
| `get_stateless_scope`, `StatelessScope.original_scope` | scopes do not chain: an inner scope must ask the outer one |
| `in_symbolic_scope` | before training, Keras calls losses symbolically, to learn shapes |
| `initialize_all_variables`, `uninitialized_variables` | variables created in a trace are initialised after it |
| `get_keras_mask`, `set_keras_mask` | losses, metrics and gradients must keep the mask of a prediction |
| `GLOBAL_CUSTOM_NAMES` | a functional twin of a class must save under the name of that class |
| `functional_init_arguments`, `Functional` | the class of `Model(inputs, outputs)` |
| `Model._loss_tracker`, `_compile_loss`, `CompileLoss._flat_losses` | the loss that `fit` reports, and its parts |
| `CompileLoss._user_loss`, `_user_loss_weights` | the arguments that `compile` built it with |
| `Model._compile_metrics`, `CompileMetrics._user_metrics`, `_user_weighted_metrics` | the metrics passed to `compile` |
| `StatelessScope.get_current_value` | look-up in Keras' own scopes, which do not chain; replaced while ours is open |
| `LossScaleOptimizer.apply`, `Optimizer._trainable_variables` | leaks tracers; replaced while ours is open |
| `Metric._direction` | whether higher or lower is better, for callbacks in mode "auto" |
| `Model._call_has_training_arg`, `_compute_loss` | the arguments of a user's `call` and `compute_loss` |
| `DotNotTrackScope` | a metric that replaces another must be tracked as that one was |
| `KerasTensor._keras_history`, `Operation._inbound_nodes`, `Node.input_tensors` | the layer behind an output |
| `Model._make_function`, `_get_jax_state`, `_jax_state`, `_jax_state_synced` | how Keras' JAX loops call a step |
| `GLOBAL_SEED_GENERATOR`, `global_seed_generator`, `get_random_seed`, `random_seed_dtype` | unseeded random numbers |
| `Variable._value` | the value of a variable outside all scopes |
| `Model._maybe_symbolic_build`, `_symbolic_build`, `_flatten_layers`, `_distribute_strategy` | building on TensorFlow |
| `TFEpochIterator._distributed_dataset` | the shapes of a batch without reading one |
| `JAXEpochIterator._get_iterator` | moves each batch to a GPU, where stacked batches move together |
| `EpochIterator._enumerate_iterator`, `_num_batches` | the step numbers that callbacks get |
| `keras.src.backend.tensorflow.trainer` | its frames refer to TensorFlow's iterator after an error |
| TensorFlow's `Graph._py_funcs_used_in_graph`, `_GeneratorState` | references to a data set, kept for ever |
| `module_utils.tensorflow`, `LazyModule._available` | whether Keras imports TensorFlow to check a type |
| attributes in `CALLBACK_STATE` and `CALLBACK_BASICS` | the state of Keras' callbacks, which `Resume` saves |
| `reduce_weighted_values` | the reduction of a loss, whose labels Keras would cast to the dtype of the loss |
| `unscale_loss_for_distribution` | under `tf.distribute` a loss is divided by the number of replicas |
"""

import contextlib
import functools
import sys
import threading
import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from types import FrameType
from typing import Any, Final, Literal, TypeVar

import keras
import numpy as np
from keras.src.backend import get_keras_mask, random_seed_dtype, set_keras_mask
from keras.src.backend.common import global_state
from keras.src.backend.common.stateless_scope import get_stateless_scope, in_stateless_scope
from keras.src.backend.common.symbolic_scope import in_symbolic_scope
from keras.src.backend.common.variables import initialize_all_variables
from keras.src.losses.loss import reduce_weighted_values, unscale_loss_for_distribution
from keras.src.models.functional import Functional
from keras.src.models.model import functional_init_arguments
from keras.src.random.seed_generator import GLOBAL_SEED_GENERATOR, global_seed_generator
from keras.src.saving.object_registration import GLOBAL_CUSTOM_NAMES
from keras.src.trainers.compile_utils import CompileLoss
from keras.src.utils.module_utils import tensorflow
from keras.src.utils.rng_utils import get_random_seed
from keras.src.utils.tracking import DotNotTrackScope

__all__ = [
    "CALLBACK_BASICS",
    "CALLBACK_STATE",
    "CompileLoss",
    "Functional",
    "Replaced",
    "batches_stay_on_the_host",
    "call_model",
    "compiled_loss",
    "compiled_metrics",
    "compute_loss",
    "flat_losses",
    "forget_generators",
    "forget_loops",
    "functional_init_arguments",
    "get_keras_mask",
    "get_random_seed",
    "get_stateless_scope",
    "improves",
    "in_stateless_scope",
    "in_symbolic_scope",
    "initialize_all_variables",
    "inputs_behind",
    "known_global_seed",
    "layer_behind",
    "leaf_layers",
    "loss_scaling_without_cond",
    "loss_tracker",
    "losses_of_outputs",
    "output_behind",
    "plain_scopes_chained_within",
    "reduce_weighted_values",
    "replace_compiled_loss",
    "replace_loss_tracker",
    "restore_value",
    "saved_under_the_name_of",
    "set_keras_mask",
    "true_step_numbers",
    "unscale_loss_for_distribution",
    "unseeded_numbers_from",
    "value_behind",
    "variables_wait_for_values",
    "without_tensorflow",
]

# Attributes of each Keras callback that are state, and their types; what else changes is set again by each fit.
CALLBACK_STATE: Final[Mapping[str, Mapping[str, str]]] = {
    "CSVLogger": {"keys": "names or None"},
    "EarlyStopping": {
        "wait": "count",
        "stopped_epoch": "count",
        "best": "number or None",
        "best_weights": "weights or None",
        "best_epoch": "count",
    },
    "History": {"epoch": "epochs", "history": "history"},
    "LambdaCallback": {},
    "LearningRateScheduler": {},
    "ModelCheckpoint": {
        "best": "number or None",
        "_batches_seen_since_last_saving": "count",
        "_last_batch_seen": "count or None",
        "_current_epoch": "count",
    },
    "ProgbarLogger": {},
    "ReduceLROnPlateau": {"best": "number or None", "wait": "count", "cooldown_counter": "count"},
    "RemoteMonitor": {},
    "SwapEMAWeights": {"_ema_weights_in_model": "flag"},
    "TensorBoard": {
        "_global_train_batch": "count",
        "_global_test_batch": "count",
        "_previous_epoch_iterations": "count",
    },
    "TerminateOnNaN": {},
}
# Attributes that Keras sets on every callback.
CALLBACK_BASICS: Final = frozenset({"params", "_model", "validation_data", "model"})


Metric = TypeVar("Metric", bound=type)


def improves(direction: Literal["up", "down"]) -> Callable[[Metric], Metric]:
    """Return a class decorator that tells whether higher ("up") or lower ("down") values of a metric are better.

    `EarlyStopping`, `ModelCheckpoint` and `ReduceLROnPlateau` in mode "auto" raise without it, at the end of the first
    epoch. Keras has no public way to state it.
    """

    def mark(cls: Metric) -> Metric:
        cls._direction = direction  # type: ignore[attr-defined]
        return cls

    return mark


def value_behind(variable: Any) -> Any:
    """Return the value of a variable outside all scopes; None before initialisation, or while Keras has emptied it."""
    return variable._value


def restore_value(variable: Any, value: Any) -> None:
    """Assign a value, also to a variable that a `fit` which failed on JAX has left without one."""
    if variable._value is None:
        variable._value = keras.ops.convert_to_tensor(value, dtype=variable.dtype)
    else:
        variable.assign(value)


def known_global_seed(*, made: bool = False) -> Any:
    """Return this thread's generator for random numbers without a seed; None if there is none yet and not `made`."""
    return global_seed_generator() if made else global_state.get_global_attribute(GLOBAL_SEED_GENERATOR)


class _Seeds:
    """A replacement for `SeedGenerator` without a variable, whose creation takes longer than reading a batch."""

    def __init__(self, seed: int) -> None:
        self.state: Any = np.array([seed, 0], np.int64)

    def next(self, ordered: bool = True) -> Any:
        drawn = self.state
        self.state = np.add(drawn, [0, 1]) if ordered else (drawn + 1) * 5387 % 933199  # as in Keras
        return keras.ops.convert_to_tensor(drawn, dtype=random_seed_dtype())


@contextlib.contextmanager
def unseeded_numbers_from(seed: int) -> Iterator[None]:
    """Derive Keras' random numbers without a seed from `seed`, within this context and in this thread."""
    before = global_state.get_global_attribute(GLOBAL_SEED_GENERATOR)
    global_state.set_global_attribute(GLOBAL_SEED_GENERATOR, _Seeds(seed))
    try:
        yield
    finally:
        global_state.set_global_attribute(GLOBAL_SEED_GENERATOR, before)


class Replaced:
    """A method of a Keras class that is replaced while any thread is inside this context, and Keras' own afterwards.

    Args:
        owner: The class.
        name: The name of its method.
        replacement: A function `(own, self, *args, **kwargs)`, where `own` is Keras' method.
    """

    def __init__(self, owner: type, name: str, replacement: Callable[..., Any]) -> None:
        self._owner, self._name, self._replacement = owner, name, replacement
        self._own: Any = None
        self._entered, self._lock = 0, threading.Lock()

    def __enter__(self) -> None:
        with self._lock:
            if not self._entered:
                self._own = own = getattr(self._owner, self._name)
                replacement = self._replacement

                @functools.wraps(own)
                def method(instance: Any, *args: Any, **kwargs: Any) -> Any:
                    return replacement(own, instance, *args, **kwargs)

                setattr(self._owner, self._name, method)
            self._entered += 1

    def __exit__(self, *error: object) -> None:
        with self._lock:
            self._entered -= 1
            if not self._entered:
                setattr(self._owner, self._name, self._own)


def plain_scopes_chained_within(kind: type[keras.StatelessScope]) -> Replaced:
    """Return a context in which Keras' own scopes ask a scope of this kind around them for variables they do not map.

    In Keras they return None, and the variable then reads as it was before the program was traced: for good. Keras
    opens such scopes itself (`stateless_call`, `stateless_apply`), and has no hook for their look-up.
    """

    def get_current_value(own: Any, self: Any, variable: Any) -> Any:
        value = own(self, variable)
        outer: Any = getattr(self, "original_scope", None)  # set when it is entered; plain ones may be nested, too
        return outer.get_current_value(variable) if value is None and _leads_to(outer, kind) else value

    return Replaced(keras.StatelessScope, "get_current_value", get_current_value)


def loss_scaling_without_cond() -> Replaced:
    """Return a context in which `LossScaleOptimizer.apply` can be traced.

    Keras assigns to variables inside `ops.cond` there, and tracers of the branch leak. `stateless_apply` does not.
    """

    def apply(own: Any, self: Any, grads: Sequence[Any], trainable_variables: Sequence[Any] | None = None) -> None:
        variables = list(self._trainable_variables if trainable_variables is None else trainable_variables)
        if not self.built:
            self.build(variables)
            self.built = True
        values, own_values = self.stateless_apply(
            [v.value for v in self.variables], list(grads), [v.value for v in variables]
        )
        for variable, value in zip([*variables, *self.variables], [*values, *own_values], strict=True):
            variable.assign(value)

    return Replaced(keras.optimizers.LossScaleOptimizer, "apply", apply)


def _leads_to(scope: Any, kind: type[keras.StatelessScope]) -> bool:
    """Return whether a scope is an instance of `kind`, or was opened inside one."""
    while scope is not None and not isinstance(scope, kind):
        scope = getattr(scope, "original_scope", None)
    return scope is not None


def variables_wait_for_values() -> bool:
    """Return whether variables were created inside a stateless scope and have no value yet."""
    return bool(global_state.get_global_attribute("uninitialized_variables"))


def saved_under_the_name_of(cls: type, original: type) -> None:
    """Make Keras serialise `cls` under the registered name of `original`, if it has one."""
    if original in GLOBAL_CUSTOM_NAMES:
        GLOBAL_CUSTOM_NAMES[cls] = GLOBAL_CUSTOM_NAMES[original]


def call_model(model: keras.Model, x: Any, *, training: bool) -> Any:
    """Return `model(x, training=...)`, or `model(x)` if its `call` has no `training` argument."""
    return model(x, training=training) if model._call_has_training_arg else model(x)


def compute_loss(model: keras.Model, x: Any, y: Any, y_pred: Any, sample_weight: Any, *, training: bool) -> Any:
    """Return `model.compute_loss(...)`, also for an override without a `training` argument."""
    return model._compute_loss(x, y, y_pred, sample_weight, training=training)


def true_step_numbers(iterator: Any) -> None:
    """Make a Keras epoch iterator count, and on torch read, no steps beyond the end of an epoch.

    If `steps_per_execution` does not divide the number of steps, Keras passes callbacks step numbers beyond the last
    one, and on torch mistakes the short end for data that ran out.

    If the data set has an `observer` (see `tailfit.training.feed.StepObserver`), an epoch starts at the step that
    `observer.first_step()` returns, `observer.before_steps()` runs once the data are open, and
    `observer.between_steps(next_step)` runs after each call of the step. A Keras callback cannot do this: it would
    make the loop wait for the logs of every step.
    """
    if iterator is None or "_enumerate_iterator" in vars(iterator):
        return
    observer = getattr(getattr(iterator.data_adapter, "py_dataset", None), "observer", None)
    if iterator.steps_per_execution == 1 and observer is None:
        return
    most, own = iterator.steps_per_execution, type(iterator)._enumerate_iterator
    # A weak reference: in a reference cycle, the iterator would live until the garbage collector runs, and TensorFlow's
    # would go on reading.
    weak = weakref.ref(iterator)

    def enumerate_true() -> Any:
        iterator: Any = weak()
        iterator.steps_per_execution = most
        first = 0 if observer is None else observer.first_step()
        whole = iterator._num_batches
        if first:
            iterator._num_batches = whole - first
        try:
            for begin, end, data in own(iterator):
                if observer is not None and begin == 0:
                    observer.before_steps()
                count = iterator.steps_per_epoch or iterator._num_batches
                last = min(end, count - 1) if count else end
                iterator.steps_per_execution = last - begin + 1
                yield first + begin, first + last, data
                iterator.steps_per_execution = most
                if observer is not None:
                    observer.between_steps(first + last + 1)
        finally:
            if first:
                iterator._num_batches = whole

    iterator._enumerate_iterator = enumerate_true


def batches_stay_on_the_host(iterator: Any) -> None:
    """Make JAX's epoch iterator yield batches as they were read; Keras would move each to the GPU by itself."""
    if keras.distribution.distribution() is None:
        iterator._get_iterator = iterator.data_adapter.get_jax_iterator


def forget_loops(error: BaseException) -> None:
    """Clear the frames of Keras' TensorFlow loops in the traceback of an error.

    The frames refer to TensorFlow's iterator, which goes on reading in its threads, and its data may refer to the
    error: such a cycle is never collected. If the interpreter exits before the iterator ends, the two deadlock
    (`test_the_frames_of_tensorflows_loop_are_cleared`). No public call closes the iterator.
    """
    trace = error.__traceback__
    while trace is not None:
        # Keras removes its own frames from the traceback, but the frames left in it refer back to them.
        frame: FrameType | None = trace.tb_frame
        while frame is not None:
            if frame.f_globals.get("__name__", "").startswith(("keras.src.backend.tensorflow.", "tensorflow.")):
                with contextlib.suppress(RuntimeError):  # the frame still runs: a loop inside a loop
                    frame.clear()
            frame = frame.f_back
        trace = trace.tb_next


def forget_generators(data_set: keras.utils.PyDataset) -> None:
    """Drop TensorFlow's references to a data set once its loops have ended; otherwise it stays in memory for ever.

    Each loop registers functions of the data set in TensorFlow's default graph, and they refer to its arrays. An
    iterator that a loop has left before its end calls them once more, so they are removed only after that. TensorFlow
    has no call for it; `test_tensorflows_references_to_a_data_set_are_dropped` fails once they go by themselves.
    """
    kept: list[Any] = getattr(tensorflow.compat.v1.get_default_graph(), "_py_funcs_used_in_graph", [])
    for function in list(kept):
        state = _generator_state(function)
        if state is None:
            continue
        if getattr(getattr(state._generator, "__self__", None), "py_dataset", None) is data_set:
            state._generator = _generates_nothing
        if state._generator is _generates_nothing and not (state._iterators or state._args):
            kept.remove(function)


@contextlib.contextmanager
def without_tensorflow() -> Iterator[None]:
    """Keep Keras on JAX and torch from importing TensorFlow only to check whether an object is of one of its types.

    Where TensorFlow is installed, Keras imports it to save the configuration of a layer: 6 s and a page of start-up
    messages. Nothing changes if TensorFlow is already imported.
    """
    known = tensorflow._available
    if keras.backend.backend() == "tensorflow" or "tensorflow" in sys.modules:
        yield
        return
    tensorflow._available = False
    try:
        yield
    finally:
        tensorflow._available = known


def _generates_nothing() -> Iterator[Any]:
    yield from ()


def _generator_state(function: Any) -> Any:
    """Return the generator state behind a function of `tf.data.Dataset.from_generator`; None for other functions."""
    while hasattr(function, "__wrapped__"):
        function = function.__wrapped__
    known = [getattr(function, "__self__", None)]
    known += [cell.cell_contents for cell in getattr(function, "__closure__", None) or ()]
    return next((state for state in known if hasattr(state, "_generator")), None)


def layer_behind(output: Any) -> Any:
    """Return the layer, or the operation of `keras.ops`, that made a tensor of a functional model."""
    return output._keras_history.operation


def output_behind(output: Any) -> Any:
    """Return the tensor inside a nested functional model that one of its outputs is."""
    history = output._keras_history
    return history.operation.outputs[history.tensor_index]


def inputs_behind(output: Any) -> list[Any]:
    """Return the tensors on which the layer behind an output was called to make this output."""
    history = output._keras_history
    return list(history.operation._inbound_nodes[history.node_index].input_tensors)


def leaf_layers(model: keras.Model) -> list[Any]:
    """Return all layers of a model that contain no other layers."""
    layers = model._flatten_layers(include_self=False, recursive=True)
    return [layer for layer in layers if len(list(layer._flatten_layers())) == 1]


def loss_tracker(model: keras.Model) -> Any:
    """Return the `keras.metrics.Mean` of the `loss` that `fit` reports; None before `compile`."""
    return model._loss_tracker


def replace_loss_tracker(model: keras.Model, tracker: Any) -> None:
    """Make `fit` report the result of another metric as `loss`."""
    with DotNotTrackScope():  # as in Keras' own compile(): not one of the user's metrics
        model._loss_tracker = tracker


def compiled_loss(model: keras.Model) -> Any:
    """Return the container of the compiled losses; None if there are none."""
    return model._compile_loss


def compiled_metrics(model: keras.Model) -> tuple[Any, Any]:
    """Return the arguments `metrics` and `weighted_metrics` that `compile` was called with; empty without any."""
    container = model._compile_metrics
    if container is None:
        return [], []
    return container._user_metrics or [], container._user_weighted_metrics or []


def replace_compiled_loss(model: keras.Model, kind: Callable[..., Any]) -> None:
    """Build the container of the compiled losses anew, with the arguments that `compile` passed, as `kind(...)`."""
    keras_own = model._compile_loss
    with DotNotTrackScope():  # as in Keras' own compile()
        model._compile_loss = kind(
            keras_own._user_loss, keras_own._user_loss_weights, output_names=keras_own.output_names
        )


def flat_losses(compiled: Any) -> list[Any]:
    """Return the losses of a built container, named tuples with `path`, `loss`, `loss_weights` and `name`.

    The list is the container's own: an entry put into it is the one that is called.
    """
    return compiled._flat_losses  # type: ignore[no-any-return]


def losses_of_outputs(model: keras.Model) -> list[Any]:
    """Return the losses of the outputs of a functional model, as its compiled loss will have them once built."""
    names, outputs = model._compile_loss.output_names, model.output
    fresh = CompileLoss(model.loss, output_names=names)
    fresh.build(outputs, outputs)
    return list(flat_losses(fresh))
