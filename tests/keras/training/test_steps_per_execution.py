"""steps_per_execution=K: the numbers of K=1, one program, a short tail, callbacks that count right."""

import gc
import weakref

import keras
import numpy as np
import pytest
from keras import ops

import tailfit
from tailfit.errors import RecordError

pytestmark = pytest.mark.as_compiled

LOSS = keras.losses.SparseCategoricalCrossentropy(from_logits=True)


def data(n):
    rng = np.random.default_rng(0)
    return rng.normal(size=(n, 3)).astype("float32"), rng.integers(0, 2, n)


def compiled(steps, cls=tailfit.Model, **kwargs):
    keras.utils.set_random_seed(4)
    inputs = keras.Input((3,))
    hidden = keras.layers.BatchNormalization()(keras.layers.Dense(4, activation="relu")(inputs))
    outputs = keras.layers.Dense(2, kernel_regularizer="l2")(keras.layers.Dropout(0.3, seed=1)(hidden))
    model = cls(inputs, outputs)
    optimizer = keras.optimizers.Adam(0.01, use_ema=True, ema_overwrite_frequency=3)
    model.compile(optimizer, LOSS, steps_per_execution=steps, **{"metrics": ["accuracy"], **kwargs})
    return model


def state(model):
    return [ops.convert_to_numpy(v) for v in (*model.variables, *model.optimizer.variables)]


def assert_same(a, b):
    for one, other in zip(state(a), state(b), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-6)


# 40 in 8s: 5 steps; 43: a short batch beside whole ones; 8: one step; 5: no whole batch at all.
@pytest.mark.parametrize(("samples", "steps"), [(40, 3), (43, 2), (8, 3), (5, 8)])
def test_trap_08_the_numbers_of_one_step_a_call(samples, steps):
    x, y = data(samples)
    given = {"batch_size": 8, "epochs": 2, "shuffle": False, "verbose": 0, "validation_data": (x, y)}
    one, many = compiled(1), compiled(steps)
    first, second = one.fit(x, y, **given).history, many.fit(x, y, **given).history
    assert_same(one, many)
    for key, values in first.items():
        np.testing.assert_allclose(values, second[key], rtol=1e-5)
    np.testing.assert_allclose(
        one.predict(x, batch_size=8, verbose=0), many.predict(x, batch_size=8, verbose=0), rtol=1e-5, atol=1e-6
    )


@pytest.mark.only_on("jax", "tensorflow")  # Keras refuses steps_per_execution there
def test_the_numbers_of_built_in_fit():
    x, y = data(43)
    ours, keras_own = compiled(3), compiled(3, keras.Model)
    for model in (ours, keras_own):
        model.fit(x, y, batch_size=8, epochs=2, shuffle=False, verbose=0)
    assert_same(ours, keras_own)


def test_eager_steps_too():
    x, y = data(43)
    eager, fused = compiled(3, run_eagerly=True), compiled(3)
    for model in (eager, fused):
        model.fit(x, y, batch_size=8, shuffle=False, verbose=0)
    assert_same(eager, fused)


@pytest.mark.only_on("jax", "tensorflow")  # nothing is traced there
def test_trap_08_it_is_one_program():
    """The step is traced for its shapes, not for its repetitions."""
    traced = []

    class Counting(tailfit.Model):
        def train_step(self, data):
            traced.append(tuple(data[0].shape))
            return super().train_step(data)

    model = compiled(16, Counting)
    x, y = data(8 * 40)
    model.fit(x, y, batch_size=8, epochs=2, verbose=0)  # 40 steps: 16, 16 and a tail of 8
    assert len(traced) <= 2
    before = len(traced)
    model.fit(x[: 8 * 5], y[: 8 * 5], batch_size=8, verbose=0)
    assert len(traced) == before


class Count(keras.callbacks.Callback):
    def __init__(self):
        super().__init__()
        self.train, self.test = [], []

    def on_train_batch_begin(self, batch, logs=None):
        self.train.append(batch)

    def on_train_batch_end(self, batch, logs=None):
        self.train.append(batch)

    def on_test_batch_end(self, batch, logs=None):
        self.test.append(batch)


@pytest.mark.parametrize("form", ["arrays", "batches"])
def test_callbacks_are_told_the_steps_there_were(form):
    x, y = data(80)
    counted, model = Count(), compiled(4)
    if form == "arrays":
        given = {"x": x, "y": y, "batch_size": 8, "validation_data": (x[:48], y[:48])}
    else:
        source = tailfit.data.Arrays(x, y)
        given = {"x": tailfit.Batches(source, 8), "validation_data": tailfit.Batches(source.split(0.6, 0.4)[0], 8)}
    model.fit(**given, epochs=2, verbose=0, callbacks=[counted])
    assert counted.train == [0, 3, 4, 7, 8, 9] * 2
    assert counted.test == [3, 5] * 2
    assert int(ops.convert_to_numpy(model.optimizer.iterations)) == 20


def test_variables_of_anything_are_carried_through_the_loop():
    counter = keras.Variable(0, dtype="int32", trainable=False)
    second = keras.optimizers.SGD(0.1)

    class Counting(tailfit.Model):
        def train_step(self, data):
            counter.assign_add(1)
            head = self.layers[-1].trainable_variables
            loss, gradients = tailfit.value_and_grad(lambda: self.compute_loss(y=data[1], y_pred=self(data[0])), head)
            second.apply(gradients, head)
            return {"loss": loss, "number": counter.value}

    model = compiled(4, Counting, metrics=None)
    model.optimizer.use_ema = False
    history = model.fit(*data(80), batch_size=8, verbose=0).history
    assert int(ops.convert_to_numpy(counter)) == int(ops.convert_to_numpy(second.iterations)) == 10
    # What comes back is the last step's, as from Keras.
    assert float(history["number"][0]) == 10.0


def test_an_unreadable_record_does_not_cost_the_weights(tmp_path):
    x, y = data(40)
    tailfit.data.save_npy_folder(tmp_path / "set", x, list(map(str, y)), ids=[f"{n:02d}" for n in range(40)])
    source = tailfit.data.open(tmp_path / "set")
    (tmp_path / "set" / "data" / "30.npy").write_bytes(b"")
    model = compiled(2)
    with pytest.raises(RecordError, match=r"30\.npy"):
        model.fit(tailfit.Batches(source, 8, tailfit.samplers.Sequential()), verbose=0)
    assert all(np.isfinite(value).all() for value in state(model))


@pytest.mark.only_on("jax")  # JAX arrays
def test_batches_on_the_device_are_stacked_there():

    class Step(keras.utils.PyDataset):
        def __len__(self):
            return 5

        def __getitem__(self, step):
            x, y = data(40)
            return tuple(ops.convert_to_tensor(part[step * 8 : step * 8 + 8]) for part in (x, y))

    ours, theirs = compiled(3), compiled(1)
    ours.fit(Step(), shuffle=False, verbose=0)
    theirs.fit(*data(40), batch_size=8, shuffle=False, verbose=0)
    assert_same(ours, theirs)


@pytest.mark.parametrize("depth", ["plain", "inside a call"])
@pytest.mark.only_on("jax")  # JAX
def test_convolutions_run_step_by_step_on_a_cpu(depth):
    """XLA has no fast convolution inside a loop there; the numbers are the same."""
    import jax

    if jax.default_backend() != "cpu":
        pytest.skip("CPU")

    class Convolve(keras.layers.Conv1D):
        def call(self, x):
            return jax.jit(super().call)(x) if depth != "plain" else super().call(x)

    def train(steps):
        keras.utils.set_random_seed(2)
        inputs = keras.Input((6, 1))
        layer = Convolve(4, 3, activation="relu")
        model = tailfit.Model(inputs, keras.layers.Dense(2)(keras.layers.GlobalAveragePooling1D()(layer(inputs))))
        model.compile("adam", LOSS, steps_per_execution=steps)
        x = np.random.default_rng(0).normal(size=(43, 6, 1)).astype("float32")
        model.fit(x, np.arange(43) % 2, batch_size=8, epochs=2, shuffle=False, verbose=0)
        return model

    for one, three in zip(state(train(1)), state(train(3)), strict=True):
        np.testing.assert_array_equal(one, three)  # to the bit: it is the same program


def test_a_stack_is_not_written_while_it_is_read():
    """JAX reads the batches of a running program where they lie; records large enough that it takes a while."""
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(32 * 60 + 7, 600)).astype("float32"), rng.integers(0, 5, 32 * 60 + 7)

    def train(steps):
        keras.utils.set_random_seed(1)
        inputs = keras.Input((600,))
        model = tailfit.Model(inputs, keras.layers.Dense(5)(keras.layers.Dense(300, activation="tanh")(inputs)))
        model.compile(keras.optimizers.SGD(0.05), LOSS, steps_per_execution=steps)
        given = {"batch_size": 32, "shuffle": False, "verbose": 0}
        return model, model.fit(x, y, epochs=3, **given).history["loss"], model.evaluate(x, y, batch_size=32, verbose=0)

    (one, loss, evaluated), (many, loss_of_many, evaluated_by_many) = train(1), train(4)
    for value, expected in zip(state(many), state(one), strict=True):
        np.testing.assert_allclose(value, expected, rtol=1e-3, atol=1e-5)
    np.testing.assert_allclose(loss_of_many, loss, rtol=1e-4)
    assert evaluated_by_many == pytest.approx(evaluated, rel=1e-4)


@pytest.mark.only_on("jax")  # JAX arrays
def test_old_weights_are_not_held():
    """Else they are copied whenever an epoch or a validation begins, and take memory twice."""
    model = compiled(2)
    model.compile("sgd", LOSS, steps_per_execution=2)  # averages would hold them
    model.fit(*data(40), batch_size=8, verbose=0, validation_data=data(16))
    old = weakref.ref(model.layers[1].kernel.value)
    model.layers[1].kernel.assign(np.zeros(model.layers[1].kernel.shape))
    gc.collect()
    assert old() is None
