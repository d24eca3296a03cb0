"""Each private name of Keras that tailfit uses is there and does what we think: a newer Keras fails here first."""

import gc
import inspect
import sys
import weakref

import keras
import numpy as np
import pytest
from keras import ops

import tailfit
from tailfit import keras_private as private
from tailfit.errors import StepError
from tailfit.resume.callback_state import checks_of
from tailfit.resume.identity import identity_of
from tailfit.training.backends import engine
from tailfit.training.backends.epoch_results import EpochResults
from tailfit.training.gradients import _scales


def test_scopes_are_found_and_do_not_chain():
    assert not private.in_stateless_scope()
    variable = keras.Variable(1.0)
    with keras.StatelessScope([(variable, ops.ones(()) * 2.0)]) as outer:
        assert private.in_stateless_scope()
        assert private.get_stateless_scope() is outer
        with keras.StatelessScope() as inner:
            assert private.get_stateless_scope() is inner
            assert inner.get_current_value(variable) is None
    assert not private.in_stateless_scope()


def test_keras_tries_shapes_out_in_a_symbolic_scope():
    seen = []

    class Looks(keras.layers.Layer):
        def call(self, x):
            seen.append(private.in_symbolic_scope())
            return x

    Looks()(keras.Input((3,)))
    assert seen
    assert all(seen)
    assert not private.in_symbolic_scope()


def test_variables_made_in_a_scope_wait_for_their_values():
    with keras.StatelessScope(initialize_variables=False):
        variable = keras.Variable(initializer="ones", shape=(2,))
    assert private.variables_wait_for_values()
    private.initialize_all_variables()
    assert not private.variables_wait_for_values()
    assert ops.convert_to_numpy(variable.value).tolist() == [1.0, 1.0]


def test_a_scope_hands_out_and_collects_values_by_the_id_of_a_variable():
    variable = keras.Variable(1.0)
    with keras.StatelessScope([(variable, ops.ones(()) * 3.0)]) as scope:
        variable.assign(variable + 1.0)
    assert float(scope.state_mapping[id(variable)]) == 4.0
    assert scope.collect_losses is False
    assert ops.convert_to_numpy(variable.value) == 1.0


def test_functional_arguments_are_told_apart():
    x = keras.Input((2,))
    assert private.functional_init_arguments((x, x), {})
    assert private.functional_init_arguments((), {"inputs": x, "outputs": x})
    assert not private.functional_init_arguments((), {"name": "m"})
    assert isinstance(keras.Model(x, keras.layers.Dense(1)(x)), private.Functional)


def test_a_class_saves_under_the_name_of_another():
    @keras.saving.register_keras_serializable(package="tests")
    class Original(keras.layers.Layer):
        pass

    class Twin(Original):
        pass

    private.saved_under_the_name_of(Twin, Original)
    assert keras.saving.get_registered_name(Twin) == "tests>Original"
    assert keras.saving.get_registered_object("tests>Original") is Original


def test_what_model_needs_of_keras_model():
    x = keras.Input((2,))
    model = keras.Model(x, keras.layers.Dense(1, name="last")(x))
    assert private.loss_tracker(model) is None
    model.compile("sgd", "mse")
    assert private.loss_tracker(model).name == "loss"
    assert private.layer_behind(model.outputs[0]).name == "last"
    assert private.call_model(model, ops.ones((1, 2)), training=False).shape == (1, 1)

    class WithoutTraining(keras.Model):
        def call(self, x):
            return x

        def compute_loss(self, x, y, y_pred, sample_weight):
            return ops.sum(y_pred)

    model = WithoutTraining()
    y_pred = private.call_model(model, ops.ones((1, 2)), training=True)
    assert float(private.compute_loss(model, None, None, y_pred, None, training=True)) == 2.0


def test_a_loss_is_not_scaled_outside_a_distribution():
    assert float(private.unscale_loss_for_distribution(ops.ones(()) * 5.0)) == 5.0


@pytest.mark.only_on("jax")  # the JAX trainer
def test_what_the_jax_trainer_expects_of_fit():
    x = keras.Input((2,))
    model = keras.Model(x, keras.layers.Dense(1)(x))
    model.compile("sgd", "mse")
    model.optimizer.build(model.trainable_variables)
    state = model._get_jax_state(
        trainable_variables=True,
        non_trainable_variables=True,
        optimizer_variables=True,
        metrics_variables=True,
    )
    groups = (
        model.trainable_variables,
        model.non_trainable_variables,
        model.optimizer.variables,
        model.metrics_variables,
    )
    assert [len(s) for s in state] == [len(g) for g in groups]
    assert model._jax_state_synced is True
    seen = []
    run = model._make_function(lambda state, data: (seen.append(data) or "logs", state))
    assert run("state", iter(["batch"])) == ("logs", "state")
    assert seen == ["batch"]


@pytest.mark.only_on("jax")  # the JAX trainer
def test_the_state_of_a_step_is_not_searched_for_layers():
    """Keras' fit sets `_jax_state` at every step, and layers copy it into lists that they track."""
    found = {}

    class Look(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            found[type(self.model)] = type(vars(self.model)["_jax_state"])

    for kind in (keras.Model, tailfit.Model):
        x = keras.Input((2,))
        model = kind(x, keras.layers.Dense(1)(x))
        model.compile("sgd", "mse")
        model.fit(np.ones((4, 2)), np.ones((4, 1)), batch_size=2, verbose=0, callbacks=[Look()])
        found[kind] = found.pop(type(model))
    assert found[tailfit.Model] is dict
    assert found[keras.Model] is not dict, "Keras does not track it any more: Trainer.__setattr__ can go"


@pytest.mark.only_on("tensorflow")  # the TensorFlow trainer
def test_the_layer_that_a_tensorflow_model_builds_from_a_specification(backend):
    model = keras.Sequential([keras.layers.Dense(1)])
    assert callable(model._maybe_symbolic_build)
    assert callable(model._symbolic_build)
    assert model._distribute_strategy is None
    assert model._flatten_layers()[0] is model

    from keras.src.backend.tensorflow.trainer import TFEpochIterator

    strategy = model.distribute_strategy
    iterator = TFEpochIterator(x=np.ones((4, 2)), batch_size=2, distribute_strategy=strategy, steps_per_execution=1)
    assert keras.tree.flatten(iterator._distributed_dataset.element_spec)[0].shape[1] == 2


def test_masks_hang_on_tensors():
    predictions = ops.ones((2, 3))
    assert private.get_keras_mask(predictions) is None
    private.set_keras_mask(predictions, ops.convert_to_tensor([True, False]))
    assert ops.convert_to_numpy(private.get_keras_mask(predictions)).tolist() == [True, False]


def test_the_epoch_iterator_that_counts_steps():
    from keras.src.trainers.epoch_iterator import EpochIterator

    iterator = EpochIterator(np.ones((10, 1)), batch_size=2, steps_per_execution=3)
    assert iterator._num_batches == 5
    assert [(begin, end) for begin, end, _ in iterator._enumerate_iterator()] == [(0, 2), (3, 5)]
    private.true_step_numbers(iterator)
    assert [(begin, end, len(data)) for begin, end, data in iterator] == [(0, 2, 3), (3, 4, 2)]
    assert [(begin, end) for begin, end, _ in iterator._enumerate_iterator()] == [(0, 2), (3, 4)]


@pytest.mark.only_on("jax")  # JAX's epoch iterator
def test_batches_stay_on_the_host_though_there_is_a_gpu(backend, monkeypatch):
    import jax
    from keras.src.backend.jax.trainer import JAXEpochIterator

    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    iterators = [JAXEpochIterator(np.zeros((5, 1), "float32"), batch_size=2) for _ in range(2)]
    private.batches_stay_on_the_host(iterators[0])
    host, device = ([type(next(batches)[0]) for _, _, batches in iterator] for iterator in iterators)
    assert host == [np.ndarray] * 3
    assert all(issubclass(kind, jax.Array) for kind in device)  # else Keras does so by itself


def test_an_iterator_that_counts_steps_is_not_kept_by_itself():
    from keras.src.trainers.epoch_iterator import EpochIterator

    iterator = EpochIterator(np.zeros((5, 1)), batch_size=1, steps_per_execution=2)
    private.true_step_numbers(iterator)
    weak = weakref.ref(iterator)
    gc.disable()
    try:
        del iterator
        assert weak() is None
    finally:
        gc.enable()


@pytest.mark.only_on("tensorflow")  # the TensorFlow trainer
def test_the_frames_of_tensorflows_loop_are_cleared():
    inputs = keras.Input((1,))
    model = keras.Model(inputs, keras.layers.Dense(1)(inputs))
    model.compile("sgd", "mse")

    class Fails(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            raise KeyboardInterrupt

    def loops(error):
        trace = error.__traceback__
        while trace is not None:
            if "epoch_iterator" in trace.tb_frame.f_locals:
                yield trace.tb_frame
            trace = trace.tb_next

    with pytest.raises(KeyboardInterrupt) as caught:
        model.fit(np.zeros((4, 1)), np.zeros((4, 1)), verbose=0, callbacks=[Fails()])
    assert list(loops(caught.value))
    private.forget_loops(caught.value)
    assert not list(loops(caught.value))


@pytest.mark.only_on("tensorflow")  # tf.data
def test_tensorflows_references_to_a_data_set_are_dropped():
    import tensorflow as tf

    class Steps(keras.utils.PyDataset):
        def __len__(self):
            return 3

        def __getitem__(self, step):
            return np.zeros((2, 1)), np.zeros((2, 1))

    inputs = keras.Input((1,))
    model = keras.Model(inputs, keras.layers.Dense(1)(inputs))
    model.compile("sgd", "mse")
    mine, other = Steps(), Steps()
    kept = {}
    for name, steps in (("other", other), ("mine", mine)):
        model.fit(steps, verbose=0)
        gc.collect()
        kept[name] = list(tf.compat.v1.get_default_graph()._py_funcs_used_in_graph)
    assert len(kept["mine"]) > len(kept["other"])  # else TensorFlow does so by itself
    private.forget_generators(mine)
    assert tf.compat.v1.get_default_graph()._py_funcs_used_in_graph == kept["other"]
    model.fit(other, verbose=0)


def test_nothing_imports_tensorflow_only_to_compare_types(backend, monkeypatch):
    from keras.src.utils.module_utils import tensorflow

    if backend == "tensorflow":
        with private.without_tensorflow():
            assert tensorflow.available
        return
    asked = []
    monkeypatch.delitem(sys.modules, "tensorflow", raising=False)
    monkeypatch.setattr(tensorflow, "_available", None)
    monkeypatch.setattr(tensorflow, "initialize", lambda: asked.append("import"))
    inputs = keras.Input((2,))
    model = tailfit.Model(inputs, keras.layers.Dense(2, activation="softmax")(inputs))
    model.compile("sgd", "mse")
    batches = tailfit.Batches(tailfit.data.Arrays(np.zeros((4, 2)), [0, 1, 0, 1]))
    identity_of(model, batches, None, [])  # what Resume saves
    assert not asked
    assert tensorflow._available is None
    keras.saving.serialize_keras_object(model.layers[-1])
    assert asked  # else Keras does so by itself


def test_the_value_behind_a_variable():
    variable = keras.Variable(2.0)
    assert float(ops.convert_to_numpy(private.value_behind(variable))) == 2.0
    with keras.StatelessScope([(variable, ops.convert_to_tensor(3.0))]):
        assert float(ops.convert_to_numpy(private.value_behind(variable))) == 2.0


def test_the_losses_and_layers_of_a_compiled_model():
    inputs = keras.Input((3,))
    inner = keras.Sequential([keras.layers.Dense(2, name="inner")])
    model = keras.Model(inputs, keras.layers.Dense(1, name="outer")(inner(inputs)))
    model.compile("sgd", keras.losses.MeanSquaredError(reduction="sum"))
    assert {layer.name for layer in private.leaf_layers(model)} >= {"inner", "outer"}
    assert inner not in private.leaf_layers(model)
    assert isinstance(private.compiled_loss(model), private.CompileLoss)
    private.compiled_loss(model).build(ops.ones((2, 1)), ops.ones((2, 1)))
    (entry,) = private.compiled_loss(model)._flat_losses
    assert entry.loss.reduction == "sum"
    assert entry._replace(loss=None).loss is None
    assert entry.loss_weights is None
    tracker = keras.metrics.Mean(name="mine")
    private.replace_loss_tracker(model, tracker)
    assert private.loss_tracker(model) is tracker
    assert [metric.name for metric in model.metrics].count("mine") == 1


def test_what_keras_draws_without_a_seed():
    """`_Seeds` goes on as Keras' own generator does: `GLOBAL_SEED_GENERATOR`, `draw_seed`, `random_seed_dtype`."""
    keras.utils.set_random_seed(3)
    assert private.get_random_seed() == 3
    keras.random.normal((1,))
    assert private.known_global_seed() is private.known_global_seed(made=True)

    own = keras.random.SeedGenerator(17)
    with private.unseeded_numbers_from(17):
        drawn = [keras.random.normal((2,)) for _ in range(3)]
    want = [keras.random.normal((2,), seed=_Unordered(own)) for _ in range(3)]
    np.testing.assert_array_equal(keras.ops.convert_to_numpy(drawn), keras.ops.convert_to_numpy(want))


class _Unordered(keras.random.SeedGenerator):
    """As the global generator is asked: `next(ordered=False)`."""

    def __init__(self, inner):
        self.inner, self._initial_seed = inner, 0  # on torch, dropout asks whether there was one

    def next(self, ordered=True):
        return self.inner.next(ordered=False)


def test_an_observer_sets_the_first_step_and_sees_every_step():
    """`EpochIterator._enumerate_iterator`, `_num_batches` and the adapter's `py_dataset`."""
    from keras.src.trainers.epoch_iterator import EpochIterator

    heard = []

    class Observer:
        def first_step(self):
            return 2

        def before_steps(self):
            heard.append("open")

        def between_steps(self, step):
            heard.append(step)

    class Data(keras.utils.PyDataset):
        observer = Observer()

        def __len__(self):
            return 5

        def __getitem__(self, index):
            return (np.full((1, 1), index),)

    iterator = EpochIterator(Data(), steps_per_execution=2)
    private.true_step_numbers(iterator)
    assert [(begin, end) for begin, end, _ in iterator.enumerate_epoch()] == [(2, 3), (4, 4)]
    assert heard == ["open", 4, 5]
    assert iterator.num_batches == 5


def test_what_ours_overrides_is_there():
    """A method of Keras that got another name would be overridden by one that nobody calls."""
    ours = {
        "_compiles",
        "_fit",
        "_fuses",
        "_evaluated_by_parts",
        "_parts_loop",
        "_run_test_step",
        "_run_train_step",
        "_stepper",
    }
    ours |= {"_carry_fields", "_hold", "_trial_step", "_completed", "_leave_out", "_left_out", "_of_batch"}
    ours |= {"_with_those_of_steps", "_only_results"}
    for cls in (tailfit.Model, engine.Trainer, EpochResults):
        methods = {name for name, value in vars(cls).items() if inspect.isfunction(value)}
        missing = {name for name in methods - ours - {"update_metrics"} if not hasattr(keras.Model, name)}
        assert not missing


def test_the_arguments_of_fit_are_those_that_ours_was_written_for():
    """`Model.fit` refuses what it can't do beside a Batches: of another argument it must be decided."""
    known = {
        "fit": "self x y batch_size epochs verbose callbacks validation_split validation_data shuffle class_weight "
        "sample_weight initial_epoch steps_per_epoch validation_steps validation_batch_size validation_freq",
        "evaluate": "self x y batch_size verbose sample_weight steps callbacks return_dict kwargs",
        "predict": "self x batch_size verbose steps callbacks",
        "compile": "self optimizer loss loss_weights metrics weighted_metrics run_eagerly steps_per_execution "
        "jit_compile auto_scale_loss",
    }
    for name, arguments in known.items():
        assert set(inspect.signature(getattr(keras.Model, name)).parameters) == set(arguments.split()), name


def test_the_state_of_callbacks(tmp_path):
    """`CALLBACK_STATE`, `CALLBACK_BASICS`: everything else that callbacks change is set again by each fit."""
    made_anew = {"append_header", "csv_file", "min_delta", "monitor_op", "writer"}
    made_anew |= {"_called_in_fit", "epochs", "progbar", "seen", "target", "verbose"}  # of the progress bar
    callbacks = {
        "EarlyStopping": {"patience": 9, "restore_best_weights": True, "monitor": "loss"},
        "ReduceLROnPlateau": {"monitor": "loss"},
        "ModelCheckpoint": {"filepath": tmp_path / "w.weights.h5", "save_weights_only": True},
        "CSVLogger": {"filename": tmp_path / "log.csv"},
        "History": {},
        "LambdaCallback": {},
        "LearningRateScheduler": {"schedule": lambda epoch, rate: rate},
        "ProgbarLogger": {},
        "TerminateOnNaN": {},
    }
    made = [getattr(keras.callbacks, name)(**given) for name, given in callbacks.items()]
    before = [dict(vars(callback)) for callback in made]
    inputs = keras.Input((2,))
    model = keras.Model(inputs, keras.layers.Dense(1)(inputs))
    model.compile("sgd", "mse")
    model.fit(np.zeros((4, 2)), np.ones((4, 1)), epochs=2, callbacks=made, verbose=0)
    for callback, was in zip(made, before, strict=True):
        changed = {name for name, value in vars(callback).items() if was.get(name, ...) is not value}
        changed = {name for name in changed if was.get(name, ...) != vars(callback)[name]}
        checks = checks_of(type(callback).__name__)
        assert all(check(vars(callback)[name]) for name, check in checks.items()), callback
        assert changed <= checks.keys() | private.CALLBACK_BASICS | made_anew, callback


def test_plain_scopes_within_ours_ask_it():
    """`StatelessScope.original_scope`."""

    class Outer(keras.StatelessScope):
        pass

    own = keras.StatelessScope.get_current_value
    variable = keras.Variable(1.0, trainable=False)
    chained = private.plain_scopes_chained_within(Outer)
    with Outer([(variable, ops.ones(()) * 2.0)]), keras.StatelessScope():
        assert float(ops.convert_to_numpy(variable.value)) == 1.0
        with chained, chained:
            assert float(ops.convert_to_numpy(variable.value)) == 2.0
        assert float(ops.convert_to_numpy(variable.value)) == 1.0
    assert keras.StatelessScope.get_current_value is own


def test_no_method_of_keras_stays_replaced():
    """`StatelessScope.get_current_value` and `LossScaleOptimizer.apply`: replaced while a program is traced."""
    replaced = [(keras.StatelessScope, "get_current_value"), (keras.optimizers.LossScaleOptimizer, "apply")]
    own = [getattr(owner, name) for owner, name in replaced]
    inputs = keras.Input((2,))
    model = tailfit.Model(inputs, keras.layers.Dense(1)(inputs))
    model.compile(keras.optimizers.LossScaleOptimizer(keras.optimizers.SGD()), "mse")
    model.fit(np.zeros((4, 2)), np.ones((4, 1)), verbose=0)
    assert vars(model.optimizer).get("apply") is None
    with pytest.raises(ZeroDivisionError):
        tailfit.function(lambda: 1 / 0)()
    assert [getattr(owner, name) for owner, name in replaced] == own


def test_the_reduction_of_a_loss_is_an_attribute():
    """SmallLoss and the reported loss read it, and a copy without it gives a loss a sample."""
    kinds = [kind for kind in vars(keras.losses).values() if inspect.isclass(kind) and kind is not keras.losses.Loss]
    losses = [kind(reduction="sum") for kind in kinds if kind is not keras.losses.CTC] + [
        keras.losses.CTC(reduction="sum")
    ]
    assert {loss.reduction for loss in losses} == {"sum"}
    loss = keras.losses.MeanSquaredError()
    loss.reduction = "none"
    assert loss(ops.zeros((3, 1)), ops.ones((3, 1))).shape == (3,)


def test_the_reduction_of_values():
    """Our losses reduce by it, since Keras would cast class indices to the dtype of the loss."""
    weights, mask = ops.convert_to_tensor([1.0, 3.0]), ops.convert_to_tensor([True, False])
    reduced = private.reduce_weighted_values(ops.convert_to_tensor([2.0, 4.0]), weights, mask, "mean", "float32")
    assert float(reduced) == 2


@pytest.mark.only_on("torch")  # the torch trainer
def test_gradients_that_keras_averages_over_processes(monkeypatch):
    """`TorchTrainer._initialize_ddp`, from 3.16 on: our steps do not call the model that it makes."""
    import torch

    if tuple(map(int, keras.__version__.split(".")[:2])) >= (3, 16):
        assert callable(keras.Model._initialize_ddp)
    monkeypatch.setattr(keras.Model, "_initialize_ddp", lambda self: None, raising=False)
    monkeypatch.setattr(torch.distributed, "is_initialized", lambda: True)
    monkeypatch.setattr(torch.distributed, "get_world_size", lambda: 2)
    inputs = keras.Input((1,))
    model = tailfit.Model(inputs, keras.layers.Dense(1)(inputs))
    model.compile("sgd", "mse")
    with pytest.raises(StepError, match=r"torch\.distributed group of 2 processes"):
        model.make_train_function()  # as fit() does


def test_which_optimizers_scale_the_loss():
    assert _scales(keras.optimizers.SGD(loss_scale_factor=2.0))
    assert not _scales(keras.optimizers.SGD())
    assert _scales(keras.optimizers.LossScaleOptimizer(keras.optimizers.SGD()))
    assert float(keras.optimizers.SGD(loss_scale_factor=2.0).scale_loss(ops.ones(()))) == 2.0


def test_the_direction_of_a_metric():
    assert keras.metrics.Accuracy()._direction == "up"
    assert keras.metrics.MeanSquaredError()._direction == "down"

    @private.improves("down")
    class Mine(keras.metrics.Mean):
        pass

    assert Mine()._direction == "down"


def test_what_an_output_was_made_of():
    """`Operation._inbound_nodes`, `Node.input_tensors`, `KerasHistory.node_index` and `tensor_index`."""
    a, b, shared = keras.Input((2,)), keras.Input((2,)), keras.layers.Identity()
    shared(a)
    (found,) = private.inputs_behind(shared(b))
    assert found is b
    inner = keras.Model(a, [shared(a), keras.layers.Dense(3, name="inner")(a)])
    assert private.layer_behind(private.output_behind(inner(b)[1])).name == "inner"


def test_the_losses_of_a_functional_models_outputs():
    inputs = keras.Input((2,))
    outputs = {name: keras.layers.Dense(1, name=name)(inputs) for name in ("one", "other")}
    for given, loss, paths in (
        (outputs, {"one": "mse", "other": "mae"}, [("one",), ("other",)]),
        (list(outputs.values()), {"one": "mse", "other": "mae"}, [("one",), ("other",)]),
        (list(outputs.values()), ["mse", "mae"], [(0,), (1,)]),
        (outputs["one"], "mse", [()]),
    ):
        model = keras.Model(inputs, given)
        model.compile(loss=loss)
        entries = private.losses_of_outputs(model)
        assert [entry.path for entry in entries] in (paths, [(0,), (1,)])
        assert [entry.name for entry in entries] == ["one", "other"][: len(paths)]
        assert not private.compiled_loss(model).built


def test_compiled_metrics_are_those_passed():
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)])
    model.compile("sgd", "mse")
    assert private.compiled_metrics(model) == ([], [])
    model.compile("sgd", "mse", metrics=["mae"], weighted_metrics=["mse"])
    assert private.compiled_metrics(model) == (["mae"], ["mse"])


@pytest.mark.only_on("jax")  # elsewhere fit empties no variable
def test_a_variable_that_a_failed_fit_has_emptied_gets_a_value():
    variable = keras.Variable([1.0, 2.0])
    variable._value = None
    private.restore_value(variable, np.array([3.0, 4.0], "float32"))
    assert ops.convert_to_numpy(variable.value).tolist() == [3.0, 4.0]
    private.restore_value(variable, np.array([5.0, 6.0], "float32"))
    assert ops.convert_to_numpy(variable.value).tolist() == [5.0, 6.0]
