"""tailfit.Model beyond parity: several optimizers, state owned by anything, saving, and what is refused."""

import keras
import numpy as np
import pytest
from keras import ops

import tailfit
from tailfit.errors import ArgumentError, StepError


def as_numpy(value):
    return ops.convert_to_numpy(value)


class OwnCall(tailfit.Model):
    def __init__(self, units=2):
        super().__init__()
        self.units = units
        self.head = keras.layers.Dense(units)

    def call(self, x):
        return self.head(x)

    def get_config(self):
        return {"units": self.units}


keras.saving.register_keras_serializable(package="tests")(OwnCall)


@keras.saving.register_keras_serializable(package="tests")
class OwnStep(tailfit.Model):
    def train_step(self, data):
        x, y, w = keras.utils.unpack_x_y_sample_weight(data)

        def forward():
            y_pred = self(x, training=True)
            return self.compute_loss(x, y, y_pred, w), y_pred

        (loss, y_pred), gradients = tailfit.value_and_grad(forward, self.trainable_variables)
        self.optimizer.apply(gradients, self.trainable_variables)
        return self.update_metrics(loss, x, y, y_pred, w)


def functional(cls=OwnStep, **kwargs):
    inputs = keras.Input((3,))
    return cls(inputs, keras.layers.Dense(2)(keras.layers.Dense(4, activation="relu")(inputs)), **kwargs)


def data(n=32):
    rng = np.random.default_rng(0)
    return rng.normal(size=(n, 3)).astype("float32"), rng.integers(0, 2, n)


LOSS = keras.losses.SparseCategoricalCrossentropy(from_logits=True)


def test_trap_02_a_second_optimizer_is_updated():
    class TwoOptimizers(tailfit.Model):
        def __init__(self):
            super().__init__()
            self.body, self.head = keras.layers.Dense(4), keras.layers.Dense(2)
            self.second = keras.optimizers.Adam(0.1)

        def call(self, x):
            return self.head(self.body(x))

        def train_step(self, data):
            x, y = data
            parts = self.body.trainable_variables, self.head.trainable_variables
            loss, gradients = tailfit.value_and_grad(
                lambda: self.compute_loss(y=y, y_pred=self(x)), [*parts[0], *parts[1]]
            )
            self.optimizer.apply(gradients[:2], parts[0])
            self.second.apply(gradients[2:], parts[1])
            return {"loss": loss}

    model = TwoOptimizers()
    x, y = data()
    model(x)
    before = [as_numpy(v) for v in model.get_weights()]
    model.compile("adam", LOSS)
    model.optimizer.build(model.body.trainable_variables)
    model.fit(x, y, batch_size=8, epochs=2, verbose=0)
    assert int(as_numpy(model.optimizer.iterations)) == 8
    assert int(as_numpy(model.second.iterations)) == 8
    assert all(np.abs(a - b).max() > 0 for a, b in zip(before, model.get_weights(), strict=True))


def test_trap_03_a_variable_owned_by_the_loss_takes_effect():
    class Weighted(keras.losses.Loss):
        def __init__(self):
            super().__init__()
            self.factor = keras.Variable(1.0, trainable=False)

        def call(self, y_true, y_pred):
            return self.factor * ops.square(y_true - y_pred)

    class Switch(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            loss.factor.assign(float(epoch + 1))

    loss = Weighted()
    inputs = keras.Input((1,))
    model = tailfit.Model(inputs, keras.layers.Dense(1, use_bias=False, kernel_initializer="ones")(inputs))
    model.compile(keras.optimizers.SGD(0.0), loss)
    history = model.fit(np.ones((4, 1)), np.zeros((4, 1)), epochs=3, verbose=0, callbacks=[Switch()])
    assert history.history["loss"] == pytest.approx([1.0, 2.0, 3.0])


def test_variables_of_anything_are_carried_by_fit():
    """A counter, a seed and a metric that belong to no layer of the model."""
    counter = keras.Variable(0, dtype="int32", trainable=False)
    seed = keras.random.SeedGenerator(3)
    draws = keras.metrics.Mean()

    class Counting(OwnStep):
        def train_step(self, data):
            counter.assign_add(1)
            draws.update_state(keras.random.uniform((), seed=seed))
            return super().train_step(data)

    model = functional(Counting)
    model.compile("sgd", LOSS)
    x, y = data()
    before = as_numpy(seed.state.value).tolist()
    model.fit(x, y, batch_size=8, epochs=2, verbose=0)
    assert int(as_numpy(counter)) == 8
    assert as_numpy(seed.state.value).tolist() != before
    assert float(as_numpy(draws.count)) == 8.0
    assert 0.0 < float(draws.result()) < 1.0


def test_a_callback_reads_the_model_mid_epoch():
    seen = []

    class Watch(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            seen.append(np.abs(self.model.get_weights()[0]).sum())

    model = functional()
    model.compile(keras.optimizers.SGD(0.1), LOSS)
    x, y = data()
    model.fit(x, y, batch_size=8, verbose=0, callbacks=[Watch()])
    assert len(set(seen)) == 4


def test_functional_and_subclassed_models_live_side_by_side():
    functional()
    model = OwnCall()
    model.compile("sgd", LOSS)
    model.fit(*data(), verbose=0)
    assert tailfit.Model.__mro__[1].__name__ == "Trainer"

    class OwnConstructor(tailfit.Model):
        def __init__(self, units):
            inputs = keras.Input((3,))
            super().__init__(inputs, keras.layers.Dense(units)(inputs))

    built = OwnConstructor(5)
    assert built(np.ones((2, 3))).shape == (2, 5)
    assert isinstance(built, OwnConstructor)
    assert [layer.name for layer in built.layers] == [layer.name for layer in built.layers if layer]


@pytest.mark.parametrize("make", [functional, lambda: functional(tailfit.Model), OwnCall], ids=["own", "plain", "call"])
def test_save_and_load(tmp_path, make):
    model = make()
    model.compile(keras.optimizers.Adam(0.01), LOSS, metrics=["accuracy"])
    x, y = data()
    model.fit(x, y, batch_size=8, verbose=0)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    assert isinstance(loaded, tailfit.Model)
    assert type(loaded).train_step is type(model).train_step
    np.testing.assert_array_equal(loaded.predict(x, verbose=0), model.predict(x, verbose=0))
    assert loaded.optimizer is not None
    first, second = (m.fit(x, y, batch_size=8, shuffle=False, verbose=0).history for m in (model, loaded))
    assert first == second


def test_overridden_test_and_predict_steps():
    class Steps(tailfit.Model):
        def test_step(self, data):
            x, y = data
            return {"agreement": ops.mean(ops.cast(ops.argmax(self(x), axis=-1) == ops.cast(y, "int32"), "float32"))}

        def predict_step(self, data):
            return ops.softmax(self(keras.utils.unpack_x_y_sample_weight(data)[0]))

    model = functional(Steps)
    model.compile("sgd", LOSS)
    x, y = data()
    probabilities = model.predict(x, batch_size=8, verbose=0)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1.0, rtol=1e-5)
    result = model.evaluate(x, y, batch_size=32, verbose=0, return_dict=True)
    assert float(result["agreement"]) == pytest.approx((probabilities.argmax(1) == y).mean())


def test_trap_01_the_jax_only_signature_is_refused():
    class Stateless(tailfit.Model):
        def train_step(self, state, data):
            return {}, state

    model = functional(Stateless)
    model.compile("sgd", LOSS)
    with pytest.raises(StepError, match=r"train_step\(self, data\) on every backend"):
        model.fit(*data(), verbose=0)


def test_freezing_layers_and_compiling_again():
    model = functional()
    model.compile("sgd", LOSS)
    x, y = data()
    model.fit(x, y, verbose=0)
    model.layers[1].trainable = False
    model.compile("sgd", LOSS)
    frozen, free = model.layers[1].get_weights(), model.layers[2].get_weights()
    model.fit(x, y, verbose=0)
    np.testing.assert_array_equal(frozen[0], model.layers[1].get_weights()[0])
    assert np.abs(free[0] - model.layers[2].get_weights()[0]).max() > 0


@pytest.mark.parametrize(
    ("activation", "loss"),
    [
        ("softmax", keras.losses.SparseCategoricalCrossentropy(from_logits=True)),
        ("sigmoid", keras.losses.BinaryCrossentropy(from_logits=True)),
        (None, keras.losses.SparseCategoricalCrossentropy(from_logits=False)),
        (None, "sparse_categorical_crossentropy"),
        ("softmax", tailfit.losses.Focal(from_logits=True)),
        ("sigmoid", tailfit.losses.Focal(from_logits=False)),
        (None, tailfit.losses.BinaryFocal(from_logits=False)),
        ("sigmoid", tailfit.losses.Asymmetric(from_logits=True)),
        ("softmax", tailfit.losses.Asymmetric(from_logits=False)),
        ("softmax", tailfit.losses.ClassBalanced([5, 2], base="focal", from_logits=False)),
        ("sigmoid", tailfit.losses.ClassBalanced([5, 2], from_logits=False)),
    ],
)
def test_a_head_that_contradicts_the_loss_is_refused(activation, loss):
    inputs = keras.Input((3,))
    model = tailfit.Model(inputs, keras.layers.Dense(2, activation=activation, name="cause")(inputs))
    with pytest.raises(ArgumentError, match=r"from_logits.*'cause'"):
        model.compile("sgd", loss)


@pytest.mark.parametrize(
    ("activation", "loss"),
    [
        ("softmax", "sparse_categorical_crossentropy"),
        ("softmax", keras.losses.SparseCategoricalCrossentropy()),
        (None, keras.losses.SparseCategoricalCrossentropy(from_logits=True)),
        (None, "mse"),
        ("sigmoid", tailfit.losses.BinaryFocal(from_logits=False)),
        ("sigmoid", tailfit.losses.ClassBalanced([5, 2], base="sigmoid", from_logits=False)),
        ("softmax", tailfit.losses.ClassBalanced([5, 2], from_logits=False)),
        ("relu", "categorical_crossentropy"),  # unusual, not contradictory
        (None, lambda y_true, y_pred: ops.mean(ops.square(y_pred), axis=-1)),
    ],
)
def test_heads_that_agree_or_can_not_be_told_compile(activation, loss):
    inputs = keras.Input((3,))
    tailfit.Model(inputs, keras.layers.Dense(2, activation=activation)(inputs)).compile("sgd", loss)


def test_heads_of_several_outputs_are_told_apart():
    inputs = keras.Input((3,))
    a = keras.layers.Dense(2, activation="softmax", name="a")(inputs)
    b = keras.layers.Dense(2, name="b")(inputs)
    logits, probabilities = (keras.losses.CategoricalCrossentropy(from_logits=flag) for flag in (True, False))
    tailfit.Model(inputs, {"a": a, "b": b}).compile("sgd", {"a": probabilities, "b": logits})
    with pytest.raises(ArgumentError, match="'b'"):
        tailfit.Model(inputs, [a, b]).compile("sgd", [probabilities, probabilities])


def test_a_gan_with_a_compile_of_its_own():
    """Two networks, two optimizers, two losses, a seed: the Keras guide's GAN with one step for all backends."""

    class Gan(tailfit.Model):
        def __init__(self):
            super().__init__()
            self.generator = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1, bias_initializer="ones")])
            self.discriminator = keras.Sequential(
                [keras.Input((1,)), keras.layers.Dense(8, activation="relu"), keras.layers.Dense(1)]
            )
            self.seed = keras.random.SeedGenerator(0)
            self.loss_d, self.loss_g = keras.metrics.Mean(name="loss_d"), keras.metrics.Mean(name="loss_g")
            self.built = True

        def compile(self, optimizer_d, optimizer_g):
            super().compile()
            self.optimizer_d, self.optimizer_g = optimizer_d, optimizer_g

        def train_step(self, real):
            real = keras.utils.unpack_x_y_sample_weight(real)[0]
            entropy = keras.losses.BinaryCrossentropy(from_logits=True)
            n = ops.shape(real)[0]

            def judge():
                fake = self.generator(keras.random.normal((n, 2), seed=self.seed))
                logits = self.discriminator(ops.concatenate([real, fake]))
                return entropy(ops.concatenate([ops.ones((n, 1)), ops.zeros((n, 1))]), logits)

            def fool():
                fake = self.generator(keras.random.normal((n, 2), seed=self.seed))
                return entropy(ops.ones((n, 1)), self.discriminator(fake))

            for fn, network, optimizer, metric in (
                (judge, self.discriminator, self.optimizer_d, self.loss_d),
                (fool, self.generator, self.optimizer_g, self.loss_g),
            ):
                loss, gradients = tailfit.value_and_grad(fn, network.trainable_variables)
                optimizer.apply(gradients, network.trainable_variables)
                metric.update_state(loss)
            return {"loss_d": self.loss_d.result(), "loss_g": self.loss_g.result()}

    gan = Gan()
    gan.compile(keras.optimizers.Adam(0.02), keras.optimizers.Adam(0.02))
    real = np.random.default_rng(0).normal(5.0, 0.5, (256, 1)).astype("float32")
    history = gan.fit(real, batch_size=32, epochs=40, verbose=0).history
    assert int(as_numpy(gan.optimizer_d.iterations)) == int(as_numpy(gan.optimizer_g.iterations)) == 320
    assert set(history) == {"loss_d", "loss_g"}
    made = as_numpy(gan.generator(np.random.default_rng(1).normal(size=(500, 2)).astype("float32")))
    assert abs(made.mean() - 5.0) < 1.5  # it began at 1


def test_dict_inputs_and_several_outputs():
    a, b = keras.Input((3,), name="a"), keras.Input((2,), name="b")
    joined = keras.layers.Concatenate()([a, b])
    outputs = {"cause": keras.layers.Dense(2, name="cause")(joined), "size": keras.layers.Dense(1, name="size")(joined)}
    model = OwnStep({"a": a, "b": b}, outputs)
    model.compile("adam", {"cause": LOSS, "size": "mse"}, metrics={"cause": [tailfit.metrics.BalancedAccuracy()]})
    x = {"a": np.ones((16, 3), "float32"), "b": np.zeros((16, 2), "float32")}
    y = {"cause": np.arange(16) % 2, "size": np.ones((16, 1), "float32")}
    history = model.fit(x, y, epochs=2, verbose=0).history
    assert {"loss", "cause_loss", "size_loss", "cause_balanced_accuracy"} <= set(history)
    assert history["loss"][1] < history["loss"][0]
    assert model.predict(x, verbose=0)["cause"].shape == (16, 2)


def test_what_a_layer_assigns_to_a_trainable_weight_is_kept():
    """SpectralNormalization does so. Keras' own step drops it on JAX, and keeps it on TensorFlow and torch."""
    inputs = keras.Input((4,))
    layer = keras.layers.SpectralNormalization(keras.layers.Dense(3, use_bias=False), power_iterations=50)
    model = tailfit.Model(inputs, layer(inputs))
    model.compile(keras.optimizers.SGD(0.0), "mse")
    model.fit(np.ones((8, 4)), np.ones((8, 3)), verbose=0)
    largest = np.linalg.svd(as_numpy(layer.kernel.value), compute_uv=False)[0]
    assert largest == pytest.approx(1.0, rel=1e-3)


def test_a_recurrent_state_is_kept_between_batches():
    """Keras' own step drops it on JAX, and keeps it on TensorFlow and torch."""

    def layer(cls, **given):
        keras.utils.set_random_seed(3)
        inputs = keras.Input(batch_shape=(2, 4, 1))
        recurrent = keras.layers.SimpleRNN(3, stateful=True)
        model = cls(inputs, recurrent(inputs))
        model.compile(keras.optimizers.SGD(0.0), "mse", **given)
        model.fit(x, np.zeros((8, 3)), batch_size=2, shuffle=False, verbose=0)
        return recurrent

    x = np.random.default_rng(0).normal(size=(8, 4, 1)).astype("float32")
    recurrent = layer(tailfit.Model)
    # By definition, step after step over the four batches.
    kernel, own, bias = recurrent.get_weights()[:3]
    state = np.zeros((2, 3))
    for batch in x.reshape(4, 2, 4, 1):
        for step in range(4):
            state = np.tanh(batch[:, step] @ kernel + bias + state @ own)
    np.testing.assert_allclose(as_numpy(recurrent.states[0].value), state, rtol=1e-4, atol=1e-5)


def test_a_callback_may_assign_one_variable_to_another():
    """On JAX they then share an array; Keras' own loop can't give it away twice."""

    class Copy(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            target.assign(self.model.layers[-1].kernel)

    class WithTarget(OwnStep):
        def train_step(self, data):
            logs = super().train_step(data)
            return {**logs, "drift": ops.sum(ops.abs(self.layers[-1].kernel - target))}

    model = functional(WithTarget)
    target = keras.Variable(ops.zeros_like(model.layers[-1].kernel.value), trainable=False)
    model.compile(keras.optimizers.SGD(0.1), LOSS)
    model.fit(*data(), batch_size=8, epochs=2, verbose=0, callbacks=[Copy()])
    drift = model.train_on_batch(*data(), return_dict=True)["drift"]
    assert 0.0 < float(drift) < 5.0
    assert np.isfinite(as_numpy(target.value)).all()
