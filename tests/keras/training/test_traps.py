"""Places where Keras is silently wrong about a training step, by their numbers; others stand where they belong."""

from functools import partial

import keras
import numpy as np
import pytest
from keras import ops

import tailfit

pytestmark = pytest.mark.as_compiled


def as_numpy(value):
    return np.array(ops.convert_to_numpy(value))


@pytest.mark.parametrize("steps", [1, 2])
def test_trap_04_a_scope_inside_a_step_sees_the_state_of_now(steps):
    """Keras' own scopes, too: what one does not map is the step's value, and not what it was before `fit`."""
    factor = keras.Variable(1.0, trainable=False)

    class Step(tailfit.Model):
        def train_step(self, data):
            x, _ = data
            with keras.StatelessScope([(v, v.value * 2.0) for v in self.trainable_variables]) as scope:
                doubled = ops.sum(self(x)) * factor
                factor.assign(100.0)  # is the scope's, and gone with it
            factor.assign_add(1.0)
            kept = self.trainable_variables[0]
            kept.assign_add(ops.ones(kept.shape))
            return {"doubled": doubled, "inside": scope.get_current_value(factor)}

    class Keep(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            seen.append(float(logs["doubled"]))
            assert float(logs["inside"]) == 100.0

    seen = []
    inputs = keras.Input((1,))
    model = Step(inputs, keras.layers.Dense(1, use_bias=False, kernel_initializer="zeros")(inputs))
    model.compile("sgd", "mse", steps_per_execution=steps)
    x = np.ones((8, 1), "float32")
    model.fit(x, x, batch_size=2, verbose=0, callbacks=[Keep()])
    # Two samples, 2 (the doubling) x the weight n x the factor n + 1, at step n.
    assert seen == [4.0 * n * (n + 1) for n in range(4)][steps - 1 :: steps]
    assert float(as_numpy(factor.value)) == 5.0


@pytest.mark.only_on("jax")  # no step runs in a scope there
def test_trap_04_scopes_in_scopes():
    """On JAX, where the step itself runs in a scope, they chain to it however deep they are."""
    number = keras.Variable(1.0)

    @tailfit.function
    def read():
        with keras.StatelessScope(), keras.StatelessScope():
            return number * 1.0

    assert float(read()) == 1.0
    number.assign(2.0)
    assert float(read()) == 2.0


def test_trap_05_add_loss_counts_in_a_step_and_in_a_function():
    class Penalised(keras.layers.Layer):
        def call(self, x):
            self.add_loss(ops.sum(x * 0 + 2.0) / ops.cast(ops.shape(x)[0], "float32"))
            return x

    inputs = keras.Input((1,))
    outputs = keras.layers.Dense(1, kernel_initializer="ones", kernel_regularizer=keras.regularizers.L2(0.5))(inputs)
    model = tailfit.Model(inputs, Penalised()(outputs))
    model.compile(keras.optimizers.SGD(0.0), "mse")
    x = np.ones((4, 1), "float32")
    assert model.fit(x, x, verbose=0).history["loss"][0] == pytest.approx(2.5)

    @tailfit.function
    def loss_on(x):
        return model.compute_loss(y=x, y_pred=model(x))

    assert float(loss_on(x)) == pytest.approx(2.5)
    _, (gradient,) = tailfit.value_and_grad(lambda: model.compute_loss(y=x, y_pred=model(x)), [model.weights[0]])
    np.testing.assert_allclose(as_numpy(gradient), [[1.0]], rtol=1e-6)  # of 0.5 w^2: the rest is flat at w = 1


def test_trap_06_random_numbers_without_a_seed_are_never_constants():
    seen = keras.Variable(np.zeros(4, "float32"), trainable=False)
    at = keras.Variable(0, dtype="int32", trainable=False)

    class Draws(tailfit.Model):
        def train_step(self, data):
            number = keras.random.uniform(())
            seen.assign(seen + ops.cast(ops.arange(4) == at, "float32") * number)
            at.assign_add(1)
            return {"number": number}

    inputs = keras.Input((1,))
    model = Draws(inputs, keras.layers.Dense(1)(inputs))
    model.compile("sgd", "mse")
    fit = partial(model.fit, np.ones((8, 1)), np.ones((8, 1)), batch_size=2, verbose=0)
    if keras.backend.backend() == "jax":  # Keras refuses them in a trace, and says how to mend it
        with pytest.raises(ValueError, match="SeedGenerator"):
            fit()
        return
    fit()
    assert len(set(as_numpy(seen).tolist())) == 4


@pytest.mark.parametrize("steps", [1, 2])
def test_trap_07_an_array_that_a_callback_kept_stays_as_it_was(steps):
    kept, copies = [], []

    class Keep(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            values = [v.value for v in self.model.variables]
            kept.append(values)
            copies.append([as_numpy(value) for value in values])

    inputs = keras.Input((2,))
    model = tailfit.Model(inputs, keras.layers.BatchNormalization()(keras.layers.Dense(3)(inputs)))
    model.compile(keras.optimizers.SGD(0.1), "mse", steps_per_execution=steps)
    before = model.weights[0].value
    was = as_numpy(before)
    x = np.random.default_rng(0).normal(size=(16, 2))
    model.fit(x, np.ones((16, 3)), batch_size=2, verbose=0, callbacks=[Keep()])
    if keras.backend.backend() == "jax":  # elsewhere a variable's value is the thing that changes, not an array
        np.testing.assert_array_equal(as_numpy(before), was)
        for values, copied in zip(kept, copies, strict=True):
            for value, copy in zip(values, copied, strict=True):
                np.testing.assert_array_equal(as_numpy(value), copy)
    assert np.abs(copies[0][0] - copies[-1][0]).max() > 0
    assert np.abs(as_numpy(model.weights[0]) - copies[-1][0]).max() == 0


def test_trap_29_keras_accumulation_is_of_equal_parts_ours_is_of_the_whole():
    """Two halves of very different weight under Sum(w l) / Sum(w)."""
    x, y = np.array([[1.0], [3.0]], "float32"), np.zeros((2, 1), "float32")
    weight = np.array([1.0, 9.0], "float32")
    loss = keras.losses.MeanSquaredError(reduction="mean_with_sample_weight")

    def weight_after(batch_size, optimizer, **kwargs):
        inputs = keras.Input((1,))
        model = tailfit.Model(inputs, keras.layers.Dense(1, use_bias=False, kernel_initializer="ones")(inputs))
        model.compile(optimizer, loss, **kwargs)
        model.fit(x, y, sample_weight=weight, batch_size=batch_size, shuffle=False, verbose=0)
        return float(as_numpy(model.weights[0])[0, 0])

    whole = weight_after(2, keras.optimizers.SGD(0.01))
    assert whole == pytest.approx(1 - 0.01 * 2 * (1 * 1 + 9 * 9) / 10, rel=1e-6)
    assert weight_after(2, keras.optimizers.SGD(0.01), steps=[tailfit.steps.Accumulate(parts=2)]) == pytest.approx(
        whole
    )
    assert weight_after(1, keras.optimizers.SGD(0.01, gradient_accumulation_steps=2)) == pytest.approx(
        1 - 0.01 * 2 * (1 + 9) / 2, rel=1e-6
    )
