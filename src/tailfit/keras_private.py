"""Every private name of Keras that tailfit uses, and nothing else; test_keras_private.py names them.

Where Keras offers a documented hook, the rest of tailfit uses that. What is here has none:

| name | why |
|---|---|
| `get_stateless_scope`, `StatelessScope.original_scope` | scopes do not chain: an inner one must ask the outer one |
| `in_symbolic_scope` | Keras tries losses out for their shapes, in a stateless scope, before it trains |
| `initialize_all_variables`, `uninitialized_variables` | variables made in a trace come to life after it |
| `get_keras_mask`, `set_keras_mask` | losses, metrics and gradients must see and keep the mask of a prediction |
| `GLOBAL_CUSTOM_NAMES` | a functional twin of a class must save under the name of that class |
| `functional_init_arguments`, `Functional` | what `Model(inputs, outputs)` is |
| `Model._loss_tracker`, `_compile_loss`, `CompileLoss._flat_losses` | the loss that `fit` shows, and its parts |
| `CompileLoss._user_loss`, `_user_loss_weights` | the arguments that `compile` built it with |
| `StatelessScope.get_current_value` | look-up in Keras' own scopes, which do not chain; replaced while ours is open |
| `LossScaleOptimizer.apply`, `Optimizer._trainable_variables` | leaks tracers; replaced while ours is open |
| `Metric._direction` | whether callbacks in their default mode wait for more or for less of a metric |
| `Model._call_has_training_arg`, `_compute_loss` | what a user's `call` and `compute_loss` take |
| `DotNotTrackScope` | a metric put in the place of another is tracked as that one was |
| `KerasTensor._keras_history`, `Operation._inbound_nodes`, `Node.input_tensors` | what made an output, and of what |
| `Model._make_function`, `_get_jax_state`, `_jax_state`, `_jax_state_synced` | how Keras' JAX loops call a step |
| `GLOBAL_SEED_GENERATOR`, `global_seed_generator`, `get_random_seed`, `random_seed_dtype` | unseeded random numbers |
| `Variable._value` | what a variable holds outside all scopes |
| `Model._maybe_symbolic_build`, `_symbolic_build`, `_flatten_layers`, `_distribute_strategy` | building on TensorFlow |
| `TFEpochIterator._distributed_dataset` | the shapes of a batch without reading one |
| `JAXEpochIterator._get_iterator` | batches that move to a GPU together must not be there one by one |
| `EpochIterator._enumerate_iterator`, `_num_batches` | which steps callbacks are told about |
| `keras.src.backend.tensorflow.trainer` | whose frames hold TensorFlow's iterator after an error |
| TensorFlow's `Graph._py_funcs_used_in_graph`, `_GeneratorState` | what it keeps of a data set for good |
| `module_utils.tensorflow`, `LazyModule._available` | TensorFlow, not imported before it is used |
| `unscale_loss_for_distribution` | under `tf.distribute` a loss is divided by the number of replicas |
"""

import contextlib
import functools
import sys
import threading
import weakref
from collections.abc import Callable, Iterator, Sequence
from types import FrameType
from typing import Any, Literal, TypeVar

import keras
import numpy as np
from keras.src.backend import get_keras_mask, random_seed_dtype, set_keras_mask
from keras.src.backend.common import global_state
from keras.src.backend.common.stateless_scope import get_stateless_scope, in_stateless_scope
from keras.src.backend.common.symbolic_scope import in_symbolic_scope
from keras.src.backend.common.variables import initialize_all_variables
from keras.src.losses.loss import unscale_loss_for_distribution
from keras.src.models.functional import Functional
from keras.src.models.model import functional_init_arguments
from keras.src.random.seed_generator import GLOBAL_SEED_GENERATOR, global_seed_generator
from keras.src.saving.object_registration import GLOBAL_CUSTOM_NAMES
from keras.src.trainers.compile_utils import CompileLoss
from keras.src.utils.module_utils import tensorflow
from keras.src.utils.rng_utils import get_random_seed
from keras.src.utils.tracking import DotNotTrackScope

__all__ = [
    "CompileLoss",
    "Functional",
    "Replaced",
    "batches_stay_on_the_host",
    "call_model",
    "compiled_loss",
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
    "replace_compiled_loss",
    "replace_loss_tracker",
    "saved_under_the_name_of",
    "set_keras_mask",
    "true_step_numbers",
    "unscale_loss_for_distribution",
    "unseeded_numbers_from",
    "value_behind",
    "variables_wait_for_values",
    "without_tensorflow",
]


Metric = TypeVar("Metric", bound=type)


def improves(direction: Literal["up", "down"]) -> Callable[[Metric], Metric]:
    """Class decorator of metrics: `EarlyStopping`, `ModelCheckpoint` and `ReduceLROnPlateau` in mode "auto" ask for it.

    Keras knows no public way; without it they raise at the end of the first epoch.
    """

    def mark(cls: Metric) -> Metric:
        cls._direction = direction  # type: ignore[attr-defined]
        return cls

    return mark


def value_behind(variable: Any) -> Any:
    """The value of a variable outside all scopes; None where Keras' `fit` has taken it away, or it has none yet."""
    return variable._value


def known_global_seed(*, made: bool = False) -> Any:
    """The generator behind random numbers without a seed, of this thread; None where none was needed yet."""
    return global_seed_generator() if made else global_state.get_global_attribute(GLOBAL_SEED_GENERATOR)


class _Seeds:
    """What stands in for a `SeedGenerator` and has no variable: making one takes longer than reading a batch."""

    def __init__(self, seed: int) -> None:
        self.state: Any = np.array([seed, 0], np.int64)

    def next(self, ordered: bool = True) -> Any:
        drawn = self.state
        self.state = np.add(drawn, [0, 1]) if ordered else (drawn + 1) * 5387 % 933199  # as Keras' own goes on
        return keras.ops.convert_to_tensor(drawn, dtype=random_seed_dtype())


@contextlib.contextmanager
def unseeded_numbers_from(seed: int) -> Iterator[None]:
    """Within, and in this thread, random numbers of Keras that are given no seed come from this one."""
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
    """Whether a scope is of a kind, or was opened inside one that is."""
    while scope is not None and not isinstance(scope, kind):
        scope = getattr(scope, "original_scope", None)
    return scope is not None


def variables_wait_for_values() -> bool:
    """Whether variables were made inside a stateless scope and have no value yet."""
    return bool(global_state.get_global_attribute("uninitialized_variables"))


def saved_under_the_name_of(cls: type, original: type) -> None:
    """Make Keras serialise `cls` as it would `original`, where that one is registered."""
    if original in GLOBAL_CUSTOM_NAMES:
        GLOBAL_CUSTOM_NAMES[cls] = GLOBAL_CUSTOM_NAMES[original]


def call_model(model: keras.Model, x: Any, *, training: bool) -> Any:
    """`model(x, training=...)`, or `model(x)` where its `call` knows no `training`."""
    return model(x, training=training) if model._call_has_training_arg else model(x)


def compute_loss(model: keras.Model, x: Any, y: Any, y_pred: Any, sample_weight: Any, *, training: bool) -> Any:
    """`model.compute_loss(...)`, also where a user's override knows no `training`."""
    return model._compute_loss(x, y, y_pred, sample_weight, training=training)


def true_step_numbers(iterator: Any) -> None:
    """Make a Keras epoch iterator tell, and on torch read, no more steps than there are at an epoch's end.

    Where `steps_per_execution` does not divide them, Keras tells callbacks of steps beyond the last one, and on torch
    takes the short tail for data that ran out.

    Where the data set has a `course`, an epoch begins at the step that `course.first_step()` says,
    `course.before_steps()` is called when it has been opened, and `course.between_steps(next_step)` after each step:
    Keras' own callbacks would have the loop wait for the numbers of every step, only to ask whether it is time.
    """
    if iterator is None or "_enumerate_iterator" in vars(iterator):
        return
    course = getattr(getattr(iterator.data_adapter, "py_dataset", None), "course", None)
    if iterator.steps_per_execution == 1 and course is None:
        return
    most, own = iterator.steps_per_execution, type(iterator)._enumerate_iterator
    # Weakly: an iterator that held itself would live until the garbage collector comes by, and TensorFlow's reads on.
    weak = weakref.ref(iterator)

    def enumerate_true() -> Any:
        iterator: Any = weak()
        iterator.steps_per_execution = most
        first = 0 if course is None else course.first_step()
        whole = iterator._num_batches
        if first:
            iterator._num_batches = whole - first
        try:
            for begin, end, data in own(iterator):
                if course is not None and begin == 0:
                    course.before_steps()
                count = iterator.steps_per_epoch or iterator._num_batches
                last = min(end, count - 1) if count else end
                iterator.steps_per_execution = last - begin + 1
                yield first + begin, first + last, data
                iterator.steps_per_execution = most
                if course is not None:
                    course.between_steps(first + last + 1)
        finally:
            if first:
                iterator._num_batches = whole

    iterator._enumerate_iterator = enumerate_true


def batches_stay_on_the_host(iterator: Any) -> None:
    """Have JAX's epoch iterator give batches as they are read: Keras puts each on a GPU by itself, one ahead."""
    if keras.distribution.distribution() is None:
        iterator._get_iterator = iterator.data_adapter.get_jax_iterator


def forget_loops(error: BaseException) -> None:
    """Let go what Keras' loops held when an error left them: the frames are in its traceback, and so in memory.

    TensorFlow's iterator is among it. It reads on in threads, and what it reads may hold the error: then none of it is
    ever collected. If the interpreter ends before the iterator does, they wait for each other for good.
    """
    trace = error.__traceback__
    while trace is not None:
        # Keras takes its own frames out of the traceback, but those left in it lead back to them.
        frame: FrameType | None = trace.tb_frame
        while frame is not None:
            if frame.f_globals.get("__name__", "").startswith(("keras.src.backend.tensorflow.", "tensorflow.")):
                with contextlib.suppress(RuntimeError):  # it still runs: a loop around a loop
                    frame.clear()
            frame = frame.f_back
        trace = trace.tb_next


def forget_generators(data_set: keras.utils.PyDataset) -> None:
    """Let TensorFlow go what it keeps of a data set that no loop reads any more: else it stays until the process ends.

    Each loop makes functions of it, which the graph around all graphs holds; they hold the data set and its arrays. An
    iterator that a loop has left before its end calls them once more: they are taken from the graph after that only.
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
    """Within, Keras on JAX and torch does not import TensorFlow only to ask whether an object is one of its types.

    To save a layer's configuration it does, where TensorFlow is installed: 6 s and a page of start-up messages. Where
    somebody has imported it nothing changes; nor does it where it is needed, for a `tf.data.Dataset` say.
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
    """What a function of `tf.data.Dataset.from_generator` knows of its generator; None if it is none."""
    while hasattr(function, "__wrapped__"):
        function = function.__wrapped__
    known = [getattr(function, "__self__", None)]
    known += [cell.cell_contents for cell in getattr(function, "__closure__", None) or ()]
    return next((state for state in known if hasattr(state, "_generator")), None)


def layer_behind(output: Any) -> Any:
    """The layer, or the operation of `keras.ops`, whose result a tensor of a functional model is."""
    return output._keras_history.operation


def output_behind(output: Any) -> Any:
    """Where a nested functional model made an output: the tensor inside it."""
    history = output._keras_history
    return history.operation.outputs[history.tensor_index]


def inputs_behind(output: Any) -> list[Any]:
    """The tensors that the layer behind an output was called on for this output; a layer may have been called twice."""
    history = output._keras_history
    return list(history.operation._inbound_nodes[history.node_index].input_tensors)


def leaf_layers(model: keras.Model) -> list[Any]:
    """All layers of a model that hold no others."""
    layers = model._flatten_layers(include_self=False, recursive=True)
    return [layer for layer in layers if len(list(layer._flatten_layers())) == 1]


def loss_tracker(model: keras.Model) -> Any:
    """The `keras.metrics.Mean` behind the `loss` that `fit` reports; None before `compile`."""
    return model._loss_tracker


def replace_loss_tracker(model: keras.Model, tracker: Any) -> None:
    """Let `fit` show the result of another metric as `loss`."""
    with DotNotTrackScope():  # as in Keras' own compile(): it is none of the model's own metrics
        model._loss_tracker = tracker


def compiled_loss(model: keras.Model) -> Any:
    """The container of the losses given to `compile`; None without any."""
    return model._compile_loss


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
    """The losses of a functional model as its compiled loss will have them, each with `path`, `loss` and `name`."""
    names, outputs = model._compile_loss.output_names, model.output
    fresh = CompileLoss(model.loss, output_names=names)
    fresh.build(outputs, outputs)
    return list(flat_losses(fresh))
