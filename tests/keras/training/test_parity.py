"""Weights after 20 steps against built-in `fit` on the same backend: equal to the bit.

Each case builds the same network twice, from the same seeds: once as `keras.Model`, once as `tailfit.Model` with the
step that users write. What differs between backends (order of operations in the optimizers) cancels out.
"""

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest
from support.parity import UserStep, assert_same_state

import tailfit

pytestmark = pytest.mark.as_compiled

STEPS, BATCH = 20, 16


class GuideStep(tailfit.Model):
    """The idioms of Keras' guides: apply_gradients, a loop over self.metrics."""

    def train_step(self, data):
        x, y = data

        def forward():
            y_pred = self(x, training=True)
            return self.compute_loss(y=y, y_pred=y_pred), y_pred

        (loss, y_pred), gradients = tailfit.value_and_grad(forward, self.trainable_variables)
        self.optimizer.apply_gradients(zip(gradients, self.trainable_variables, strict=True))
        for metric in self.metrics:
            if metric.name == "loss":
                metric.update_state(loss)
            else:
                metric.update_state(y, y_pred)
        return {metric.name: metric.result() for metric in self.metrics}


class Noise(keras.layers.Layer):
    """Adds a penalty through add_loss, and counts its calls in a variable of its own."""

    def build(self, shape):
        self.calls = self.add_weight(shape=(), initializer="zeros", trainable=False, name="calls")

    def call(self, x):
        self.add_loss(1e-3 * keras.ops.sum(keras.ops.square(x)))
        self.calls.assign_add(1.0)
        return x


def network(*, deep: bool) -> tuple[Any, Any]:
    inputs = keras.Input((12,))
    x = keras.layers.Dense(16, kernel_regularizer=keras.regularizers.L2(1e-2))(inputs)
    if deep:
        x = keras.layers.BatchNormalization()(x)
        x = Noise()(x)
        x = keras.layers.Dropout(0.3)(x)
    x = keras.layers.Activation("relu")(x)
    return inputs, keras.layers.Dense(4)(x)


def problem(n: int = STEPS * BATCH) -> tuple[Any, Any]:
    rng = np.random.default_rng(3)
    return rng.normal(size=(n, 12)).astype("float32"), rng.integers(0, 4, n).astype("int32")


OPTIMIZERS: dict[str, Callable[[], Any]] = {
    "sgd": lambda: keras.optimizers.SGD(0.05, momentum=0.9),
    "adam": lambda: keras.optimizers.Adam(1e-2),
    "adamw, clipped": lambda: keras.optimizers.AdamW(1e-2, clipnorm=0.5),
    "ema": lambda: keras.optimizers.Adam(1e-2, use_ema=True, ema_momentum=0.9, ema_overwrite_frequency=7),
    "accumulated": lambda: keras.optimizers.Adam(1e-2, gradient_accumulation_steps=3),
    "scheduled": lambda: keras.optimizers.SGD(keras.optimizers.schedules.ExponentialDecay(0.1, 5, 0.5)),
}


def train(cls: type, optimizer: Callable[[], Any], *, deep: bool = True, fit: dict[str, Any] | None = None) -> Any:
    keras.utils.clear_session(free_memory=False)
    keras.utils.set_random_seed(11)
    model = cls(*network(deep=deep))
    model.compile(
        optimizer(),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=[keras.metrics.SparseCategoricalAccuracy(name="accuracy")],
    )
    x, y = problem()
    history = model.fit(x, y, batch_size=BATCH, epochs=1, shuffle=False, verbose=0, **(fit or {}))
    return model, history.history


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_the_users_step_equals_built_in_fit(optimizer):
    theirs, their_history = train(keras.Model, OPTIMIZERS[optimizer])
    ours, our_history = train(UserStep, OPTIMIZERS[optimizer])
    assert_same_state(ours, theirs)
    assert our_history == their_history


@pytest.mark.parametrize("deep", [False, True])
def test_the_default_step_equals_built_in_fit(deep):
    x, y = problem(40)
    extra = {"sample_weight": np.linspace(0.1, 2.0, STEPS * BATCH), "validation_data": (x, y)}
    theirs, their_history = train(keras.Model, OPTIMIZERS["adam"], deep=deep, fit=extra)
    ours, our_history = train(tailfit.Model, OPTIMIZERS["adam"], deep=deep, fit=extra)
    assert_same_state(ours, theirs)
    assert our_history == their_history
    np.testing.assert_array_equal(ours.predict(x, verbose=0), theirs.predict(x, verbose=0))


def test_the_idioms_of_the_guides_work():
    def fit(cls):
        model = cls(*network(deep=False))
        model.compile(
            keras.optimizers.Adam(1e-2),
            keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        )
        x, y = problem()
        history = model.fit(x, y, batch_size=BATCH, shuffle=False, verbose=0)
        return model, history.history

    keras.utils.set_random_seed(5)
    theirs, their_history = fit(keras.Model)
    keras.utils.clear_session()
    keras.utils.set_random_seed(5)
    ours, our_history = fit(GuideStep)
    assert_same_state(ours, theirs)
    assert our_history["loss"] == pytest.approx(their_history["loss"])


@pytest.mark.parametrize("eager", [{"run_eagerly": True}, {"jit_compile": False}], ids=str)
def test_uncompiled_steps_equal_built_in_fit(eager):
    def fit(cls):
        keras.utils.clear_session(free_memory=False)
        keras.utils.set_random_seed(1)
        model = cls(*network(deep=True))
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        model.compile(keras.optimizers.Adam(1e-2), loss, **eager)
        x, y = problem(4 * BATCH)
        model.fit(x, y, batch_size=BATCH, shuffle=False, verbose=0)
        return model

    assert_same_state(fit(UserStep), fit(keras.Model))


def test_train_on_batch_equals_built_in():
    def train_on_batches(cls):
        keras.utils.clear_session(free_memory=False)
        keras.utils.set_random_seed(1)
        model = cls(*network(deep=True))
        model.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
        x, y = problem(4 * BATCH)
        logs = [model.train_on_batch(x[i : i + BATCH], y[i : i + BATCH]) for i in range(0, len(x), BATCH)]
        return model, logs, model.test_on_batch(x, y), model.predict_on_batch(x)

    ours, theirs = train_on_batches(UserStep), train_on_batches(keras.Model)
    assert_same_state(ours[0], theirs[0])
    for a, b in zip(ours[1:], theirs[1:], strict=True):
        np.testing.assert_array_equal(a, b)


def test_mixed_precision_with_loss_scaling_equals_built_in_fit():
    def fit(cls):
        keras.utils.clear_session(free_memory=False)
        keras.utils.set_random_seed(1)
        policy = keras.dtype_policies.DTypePolicy("mixed_float16")
        inputs = keras.Input((12,))
        x = keras.layers.Dense(16, activation="relu", dtype=policy)(inputs)
        outputs = keras.layers.Dense(4, dtype=policy)(x)
        model = cls(inputs, outputs)
        optimizer = keras.optimizers.LossScaleOptimizer(keras.optimizers.Adam(1e-2), dynamic_growth_steps=4)
        model.compile(optimizer, keras.losses.SparseCategoricalCrossentropy(from_logits=True))
        x, y = problem(12 * BATCH)
        x[5 * BATCH, 0] = 6e4  # a step whose gradients overflow: skipped, and the scale halved
        history = model.fit(x, y, batch_size=BATCH, shuffle=False, verbose=0)
        return model, history.history

    (ours, our_history), (theirs, their_history) = fit(UserStep), fit(keras.Model)
    assert_same_state(ours, theirs)
    assert our_history == their_history


def test_a_subclassed_model_built_by_fit_equals_built_in_fit():
    """Not built before `fit`, on shuffled data: weights are made, and samples drawn, in the same order."""

    def fit(cls):
        class Net(cls):
            def __init__(self):
                super().__init__()
                self.hidden = keras.layers.Dense(8, kernel_regularizer="l2")
                self.normal, self.noise = keras.layers.BatchNormalization(), Noise()
                self.drop, self.head = keras.layers.Dropout(0.2), keras.layers.Dense(4)

            def call(self, x, training=None):
                x = self.noise(self.normal(self.hidden(x), training=training))
                return self.head(self.drop(keras.ops.relu(x), training=training))

        keras.utils.clear_session(free_memory=False)
        keras.utils.set_random_seed(23)
        model = Net()
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        model.compile(keras.optimizers.Adam(1e-2, use_ema=True), loss, metrics=["accuracy"])
        x, y = problem()
        history = model.fit(x, y, batch_size=BATCH, epochs=2, validation_split=0.2, verbose=0)
        return model, history.history

    (ours, our_history), (theirs, their_history) = fit(UserStep), fit(keras.Model)
    assert_same_state(ours, theirs)
    assert our_history == their_history


def test_a_recurrent_network_equals_built_in_fit():
    def fit(cls):
        keras.utils.clear_session(free_memory=False)
        keras.utils.set_random_seed(2)
        inputs = keras.Input((6, 2))
        hidden = keras.layers.LSTM(4, dropout=0.2, recurrent_dropout=0.2)(inputs)
        model = cls(inputs, keras.layers.Dense(4)(hidden))
        model.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
        x, y = problem(64)
        model.fit(x.reshape(64, 6, 2), y, batch_size=BATCH, epochs=2, verbose=0)
        return model

    assert_same_state(fit(UserStep), fit(keras.Model))
