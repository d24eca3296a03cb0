"""Schedules in training: each epoch uses its own value on every backend, and nothing is traced again."""

import keras
import numpy as np
import pytest

import tailfit
from tailfit.errors import ArgumentError, StepError
from tailfit.losses import CrossEntropy, Focal, LogitAdjusted
from tailfit.schedules import Constant, Cosine, Custom, Deferred, Linear, Piecewise, from_function, set_epoch
from tailfit.training.scheduled import scheduled_by

COUNTS = [70, 20, 10]
RNG = np.random.default_rng(0)
X = RNG.normal(size=(24, 5)).astype("float32")
Y = RNG.integers(0, 3, 24)


@keras.saving.register_keras_serializable(package="tests")
def half_of(epoch):
    return 0.5 * epoch


def network(cls=tailfit.Model):
    inputs = keras.Input((5,))
    return cls(inputs, keras.layers.Dense(3)(inputs))


def compiled(loss, cls=tailfit.Model, **kwargs):
    """Build a model with learning rate 0, so that only the schedule changes the reported loss."""
    model = network(cls)
    model.compile(keras.optimizers.SGD(0.0), loss, **kwargs)
    return model


def reported(model, **kwargs):
    history = model.fit(X, Y, **{"epochs": 4, "batch_size": 8, "verbose": 0, "shuffle": False, **kwargs})
    return history.history["loss"]


def expected(model, losses):
    y_pred = keras.ops.convert_to_numpy(model(X))
    return [float(loss(Y, y_pred)) for loss in losses]


# A scheduled loss, and the equivalent fixed losses at epochs 0 to 3.
FOLLOWING = {
    "tau": (
        lambda: LogitAdjusted(COUNTS, tau=Linear(0.0, 2.0, epochs=2), from_logits=True),
        [LogitAdjusted(COUNTS, tau=tau, from_logits=True) for tau in (0.0, 1.0, 2.0, 2.0)],
    ),
    "gamma": (
        lambda: Focal(gamma=Piecewise([2.0, 1.0, 0.0], boundaries=[1, 3]), from_logits=True),
        [Focal(gamma=gamma, from_logits=True) for gamma in (2.0, 1.0, 1.0, 0.0)],
    ),
    "alpha": (
        lambda: Focal(alpha=Deferred([1.0, 1.0, 1.0], {0: 1.0, 1: 2.0, 2: 3.0}, at=2), from_logits=True),
        [Focal(alpha=alpha, from_logits=True) for alpha in (1.0, 1.0, [1.0, 2.0, 3.0], [1.0, 2.0, 3.0])],
    ),
    "one alpha": (
        lambda: Focal(alpha=Deferred(1.0, 3.0, at=2), from_logits=True),
        [Focal(alpha=alpha, from_logits=True) for alpha in (1.0, 1.0, 3.0, 3.0)],
    ),
    "class_weights": (
        lambda: CrossEntropy(class_weights=Deferred([1.0] * 3, [0.5, 2.0, 4.0], at=2), from_logits=True),
        [CrossEntropy(class_weights=w, from_logits=True) for w in ([1.0] * 3, None, [0.5, 2.0, 4.0], [0.5, 2.0, 4.0])],
    ),
    "label_smoothing": (
        lambda: CrossEntropy(label_smoothing=Custom(lambda epoch: 0.1 * epoch), from_logits=True),
        [CrossEntropy(label_smoothing=0.1 * epoch, from_logits=True) for epoch in range(4)],
    ),
}
every_parameter = pytest.mark.parametrize(("following", "fixed"), FOLLOWING.values(), ids=FOLLOWING)


@every_parameter
def test_fit_uses_the_value_of_each_epoch(following, fixed):
    model = compiled(following())
    assert np.allclose(reported(model), expected(model, fixed), rtol=1e-6)


@every_parameter
def test_set_epoch_sets_a_loss_by_hand(following, fixed):
    loss, model = following(), network()
    for epoch in (0, 3, 1, 2):
        set_epoch(epoch, loss)
        assert np.allclose(expected(model, [loss]), expected(model, [fixed[epoch]]), rtol=1e-6)


def test_trap_3_a_schedule_reaches_the_compiled_step_and_its_gradients():
    model = network()
    loss = Focal(alpha=Deferred(0.0, 1.0, at=1), from_logits=True)
    model.compile(keras.optimizers.SGD(0.1), loss)
    before = keras.ops.convert_to_numpy(model.trainable_variables[0])
    model.fit(X, Y, epochs=1, verbose=0)
    assert np.array_equal(keras.ops.convert_to_numpy(model.trainable_variables[0]), before)
    model.fit(X, Y, initial_epoch=1, epochs=2, verbose=0)
    assert not np.array_equal(keras.ops.convert_to_numpy(model.trainable_variables[0]), before)


class Counting(LogitAdjusted):
    """Count the Python calls of `call`: one per trace where steps are compiled."""

    calls = 0

    def call(self, y_true, y_pred):
        self.calls += 1
        return super().call(y_true, y_pred)


def test_nothing_is_traced_again(backend):
    loss = Counting(COUNTS, tau=Linear(0.0, 1.0, epochs=9), from_logits=True)
    model = compiled(loss)
    model.fit(X, Y, batch_size=8, epochs=1, validation_data=(X, Y), verbose=0)
    traced = loss.calls
    values = reported(model, initial_epoch=1, epochs=9, validation_data=(X, Y))
    assert len(set(values)) == 8
    compared = 8 * (1 + 1)  # the first step of each epoch, and of its validation
    assert loss.calls - traced == (compared if backend == "torch" else 0)


def test_a_custom_loop_is_not_traced_again(backend):
    loss, model = Counting(COUNTS, tau=Linear(0.0, 2.0, epochs=2), from_logits=True), network()

    @tailfit.function
    def evaluate(x, y):
        return loss(y, model(x))

    x, y = keras.ops.convert_to_tensor(X), keras.ops.convert_to_tensor(Y)
    evaluate(x, y)
    traced, values = loss.calls, []
    for epoch in range(3):
        set_epoch(epoch, loss)
        values.append(float(evaluate(x, y)))
    fixed = [LogitAdjusted(COUNTS, tau=tau, from_logits=True) for tau in (0.0, 1.0, 2.0)]
    assert np.allclose(values, expected(model, fixed), rtol=1e-6)
    assert loss.calls - traced == (2 if backend == "torch" else 0)  # which are recorded


def test_initial_epoch_selects_the_value():
    model = compiled(FOLLOWING["tau"][0]())
    assert np.allclose(reported(model, initial_epoch=1, epochs=3), expected(model, FOLLOWING["tau"][1][1:3]), rtol=1e-6)


def test_a_second_fit_starts_at_its_own_epoch():
    model = compiled(FOLLOWING["tau"][0]())
    assert reported(model) == reported(model)


def test_validation_uses_the_value_of_its_epoch():
    model = compiled(FOLLOWING["tau"][0]())
    history = model.fit(X, Y, epochs=3, batch_size=24, validation_data=(X, Y), verbose=0).history
    assert np.allclose(history["val_loss"], history["loss"], rtol=1e-6)
    assert np.isclose(model.evaluate(X, Y, verbose=0), history["loss"][-1], rtol=1e-6)


@pytest.mark.parametrize("kwargs", [{"run_eagerly": True}, {"jit_compile": False}, {"steps_per_execution": 2}])
def test_compile_options(kwargs):
    model = compiled(FOLLOWING["tau"][0](), **kwargs)
    assert np.allclose(reported(model), expected(model, FOLLOWING["tau"][1]), rtol=1e-6)


def test_batches_and_callback_lists():
    data = tailfit.Batches(tailfit.data.Arrays(X, Y), 8, seed=1)
    for callbacks in (None, keras.callbacks.CallbackList([keras.callbacks.History()])):
        model = compiled(FOLLOWING["tau"][0]())
        if callbacks is not None:
            callbacks.set_model(model)
        model.fit(data, epochs=3, callbacks=callbacks, verbose=0)
        assert np.allclose(model.history.history["loss"], expected(model, FOLLOWING["tau"][1][:3]), rtol=1e-6)
        if callbacks is not None:
            assert len(callbacks.callbacks) == 1


def test_losses_in_dicts_and_lists_are_found():
    inputs = keras.Input((5,))
    outputs = {name: keras.layers.Dense(3, name=name)(inputs) for name in ("a", "b")}
    model = tailfit.Model(inputs, outputs)
    losses = {
        "a": LogitAdjusted(COUNTS, tau=Linear(0.0, 2.0, epochs=2), from_logits=True),
        "b": CrossEntropy(from_logits=True),
    }
    model.compile(keras.optimizers.SGD(0.0), losses)
    model.fit(X, {"a": Y, "b": Y}, epochs=3, batch_size=24, verbose=0)
    assert float(losses["a"].tau.variable) == 2.0
    predicted = model(X)
    both = [
        LogitAdjusted(COUNTS, tau=2.0, from_logits=True)(Y, predicted["a"]),
        CrossEntropy(from_logits=True)(Y, predicted["b"]),
    ]
    total = sum(keras.ops.convert_to_numpy(one) for one in both)
    assert np.isclose(model.history.history["loss"][-1], total, rtol=1e-6)


class WithItsOwnLoss(tailfit.Model):
    def __init__(self):
        super().__init__()
        self.head = keras.layers.Dense(3)
        self.losses_of_mine = {"extra": [Focal(alpha=Linear(1.0, 3.0, epochs=2), from_logits=True)]}

    def call(self, x):
        return self.head(x)

    def train_step(self, data):
        x, y = data
        return {"mine": self.losses_of_mine["extra"][0](y, self(x))}


def test_a_loss_used_only_in_train_step_is_found():
    model = WithItsOwnLoss()
    model.compile("sgd")
    values = np.array(model.fit(X, Y, epochs=3, batch_size=24, verbose=0).history["mine"])
    assert np.allclose(values / values[0], [1.0, 2.0, 3.0], rtol=1e-6)


def test_models_without_schedules_have_nothing_scheduled():
    assert scheduled_by(compiled(CrossEntropy(from_logits=True))) == []
    assert scheduled_by(compiled("mse")) == []


def test_scheduled_steps_are_found():
    class Follower:
        epochs = ()

        def set_epoch(self, epoch):
            self.epochs = (*self.epochs, epoch)

    class FollowingStep:
        follower = Follower()

        def scheduled(self):
            return [self.follower]

    model = compiled(CrossEntropy(from_logits=True))
    model.parts = (FollowingStep(),)
    reported(model, epochs=3)
    assert FollowingStep.follower.epochs == (0, 1, 2)


# -- batches with scheduled weights or samplers ---------------------------------------------------------

DEFERRED = Deferred([1.0] * 3, [0.5, 2.0, 4.0], at=2)
OWN = RNG.uniform(0.5, 2.0, 24)


def source():
    return tailfit.data.Arrays(X, Y, class_names=["leak", "ok", "worn"])


def test_batch_weights_follow_the_schedule():
    batches = tailfit.Batches(source(), 5, seed=3, class_weight=DEFERRED, sample_weight=OWN)
    for epoch in (0, 3, 1, 2):
        fixed = tailfit.Batches(source(), 5, seed=3, class_weight=dict(enumerate(DEFERRED(epoch))), sample_weight=OWN)
        for step in range(len(batches)):
            for got, want in zip(batches.read(epoch, step), fixed.read(epoch, step), strict=True):
                assert np.array_equal(got, want)
        assert np.array_equal(batches.weights_at(epoch), fixed.weights)
        assert np.array_equal(batches.class_counts_at(epoch), fixed.class_counts_at(epoch))
        batches.set_epoch(epoch)
        assert np.array_equal(batches.weights, fixed.weights)
        assert np.array_equal(batches.class_counts, fixed.class_counts)
    assert "weighted" in repr(batches)
    assert [len(batch) for batch in batches] == [3] * 5


def test_weights_of_soft_labels_follow_the_schedule():
    soft = np.array([[0.5, 0.5], [0.2, 0.8], [1.0, 0.0]], "float32")
    batches = tailfit.Batches(tailfit.data.Arrays(X[:3], soft), 3, class_weight=Linear([1, 1], [3, 1], epochs=2))
    assert np.allclose(batches.weights_at(1), [1.5, 1.2, 2.0])


def test_class_counts_follow_the_power_of_the_sampler():
    sampler = tailfit.samplers.ClassBalanced(power=Deferred(1.0, 0.0, at=2))
    batches = tailfit.Batches(source(), 5, sampler)
    assert batches.class_counts_at(1).tolist() == np.bincount(Y).tolist()
    assert batches.class_counts_at(2).tolist() == [8.0] * 3
    set_epoch(2, batches)
    assert batches.class_counts.tolist() == [8.0] * 3


def test_deferred_reweighting_in_fit():
    data = tailfit.Batches(source(), 24, class_weight=DEFERRED)
    model = compiled(CrossEntropy(from_logits=True))
    history = model.fit(data, epochs=4, validation_data=data, verbose=0).history
    values = [
        float(CrossEntropy(from_logits=True, reduction="sum")(Y, keras.ops.stop_gradient(model(X)), w)) / 24
        for w in (None, None, np.take(DEFERRED.after, Y), np.take(DEFERRED.after, Y))
    ]
    assert np.allclose(history["loss"], values, rtol=1e-5)
    assert np.allclose(history["val_loss"], values, rtol=1e-5)


@pytest.mark.parametrize(
    ("schedule", "words"),
    [
        (Constant(2.0), "1 number at epoch 0"),
        (Deferred([1.0, 1.0], [2.0, 2.0], at=5), "2 numbers at epoch 0"),
        (Deferred([1.0] * 3, [1.0, -1.0, 1.0], at=5), "at epoch 5"),
    ],
)
def test_invalid_weights_are_refused_in_the_constructor(schedule, words):
    with pytest.raises(ArgumentError, match=words):
        tailfit.Batches(source(), 5, class_weight=schedule)


def test_weights_without_labels_are_refused():
    with pytest.raises(ArgumentError, match="unlabelled"):
        tailfit.Batches(tailfit.data.Arrays(X), 5, class_weight=DEFERRED)


# -- saved and resumed ---------------------------------------------------------------------------------

SCHEDULES = [
    Constant(0.5),
    Linear(0.0, 1.0, epochs=3, begin=1),
    Cosine(0.0, 1.0, epochs=3),
    Piecewise([0.0, 0.5, 1.0], [1, 2]),
    Deferred(0.0, 1.0, at=2),
    from_function(half_of),
]


@pytest.mark.parametrize("schedule", SCHEDULES, ids=lambda schedule: type(schedule).__name__)
def test_a_saved_model_continues_its_schedule(schedule, tmp_path):
    model = compiled(LogitAdjusted(COUNTS, tau=schedule, from_logits=True))
    reported(model, epochs=3)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    assert loaded.loss.tau.schedule == schedule
    # The loaded model is at the epoch at which it was saved.
    assert np.isclose(loaded.evaluate(X, Y, verbose=0), model.evaluate(X, Y, verbose=0), rtol=1e-6)
    kwargs = {"initial_epoch": 3, "epochs": 5}
    assert np.allclose(reported(loaded, **kwargs), reported(model, **kwargs), rtol=1e-6)


@pytest.mark.parametrize("parameter", sorted(FOLLOWING.keys() - {"label_smoothing"}))
def test_config_round_trip(parameter):
    loss, model = FOLLOWING[parameter][0](), network()
    set_epoch(2, loss)
    again = type(loss).from_config(loss.get_config())
    assert [f.schedule for f in again.scheduled()] == [f.schedule for f in loss.scheduled()]
    assert np.allclose(expected(model, [again]), expected(model, [loss]), rtol=1e-6)


def test_schedules_are_registered_in_their_own_namespace():
    # Other modules may register classes of the same names.
    for schedule in SCHEDULES:
        kind = type(schedule)
        assert keras.saving.get_registered_name(kind) == f"tailfit.schedules>{kind.__name__}"


def test_an_unregistered_function_is_not_saved(tmp_path):
    model = compiled(LogitAdjusted(COUNTS, tau=Custom(lambda epoch: epoch), from_logits=True))
    with pytest.raises(ArgumentError, match="register_keras_serializable"):
        model.save(tmp_path / "model.keras")


# -- refused -------------------------------------------------------------------------------------------


def test_trap_3_a_plain_keras_model_on_jax_is_refused(backend):
    model = compiled(FOLLOWING["tau"][0](), cls=keras.Model)
    if backend == "jax":
        with pytest.raises(StepError, match=r"tailfit\.Model"):
            model.evaluate(X, Y, verbose=0)
        with pytest.raises(StepError, match=r"tailfit\.Model"):
            reported(compiled(FOLLOWING["tau"][0](), cls=keras.Model))
    else:
        loss = model.loss
        moves = keras.callbacks.LambdaCallback(on_epoch_begin=lambda epoch, logs: set_epoch(epoch, loss))
        assert np.allclose(reported(model, callbacks=[moves]), expected(model, FOLLOWING["tau"][1]), rtol=1e-6)


def test_a_scope_that_maps_the_variable_is_accepted():
    loss, model = FOLLOWING["tau"][0](), network()
    with keras.StatelessScope([(loss.tau.variable, keras.ops.ones(()))]):
        value = expected(model, [loss])
    assert np.allclose(value, expected(model, [FOLLOWING["tau"][1][1]]), rtol=1e-6)


@pytest.mark.parametrize(
    "arguments",
    [
        {"tau": Linear(1.0, -1.0, epochs=5)},
        {"tau": Piecewise([1.0, -1.0, 1.0], boundaries=[3, 4])},
        {"tau": Deferred(1.0, -1.0, at=80)},
        {"tau": Constant([1.0, 1.0, 1.0])},
        {"tau": Custom(lambda epoch: -1.0)},
        {"tau": lambda epoch: "one"},
    ],
)
def test_a_value_out_of_range_is_refused_in_the_constructor(arguments):
    if not isinstance(arguments["tau"], tailfit.schedules.Schedule):
        arguments = {"tau": Custom(arguments["tau"])}
    with pytest.raises(ArgumentError, match="at epoch"):
        LogitAdjusted(COUNTS, **arguments, from_logits=True)


def test_a_function_value_out_of_range_is_refused_at_that_epoch():
    loss = LogitAdjusted(COUNTS, tau=Custom(lambda epoch: 1.0 - epoch), from_logits=True)
    set_epoch(1, loss)
    with pytest.raises(ArgumentError, match=r"tau=-1\.0 at epoch 2"):
        set_epoch(2, loss)


def test_the_number_of_class_weights_must_not_change():
    loss = CrossEntropy(class_weights=Custom(lambda epoch: [1.0] * (3 + epoch)), from_logits=True)
    with pytest.raises(ArgumentError, match="same number"):
        set_epoch(1, loss)
    with pytest.raises(ArgumentError, match="4 classes"):
        CrossEntropy(class_weights=Constant([1.0] * 4), from_logits=True)(Y, np.zeros((24, 3), "float32"))


without_jax = pytest.mark.only_on("tensorflow", "torch")  # which needs float64 to be enabled before its first use


@pytest.mark.parametrize("dtype", [pytest.param("float64", marks=without_jax), "bfloat16", None])
def test_the_value_has_the_precision_of_the_loss(dtype):
    loss = LogitAdjusted(COUNTS, tau=Constant(1 / 3), from_logits=True, dtype=dtype)
    fixed = LogitAdjusted(COUNTS, tau=1 / 3, from_logits=True, dtype=dtype)
    y_pred = np.array([[2.0, 0.5, -1.0]], "float64")
    values = [float(one([2], y_pred)) for one in (loss, fixed)]
    assert np.isclose(*values, rtol=1e-7)
