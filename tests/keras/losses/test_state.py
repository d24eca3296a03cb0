"""Losses that need more than labels and predictions: counts across steps, and features attached to predictions."""

import gc

import keras
import numpy as np
import pytest
from keras import ops
from support.autograd import numpy

import tailfit
from tailfit import layers, losses
from tailfit.errors import ArgumentError, StepError

rng = np.random.default_rng(5)
X, Y = rng.standard_normal((12, 3)).astype("float32"), np.array([0, 0, 1, 0, 2, 0, 0, 1, 0, 0, 1, 0])


def network(kind=tailfit.Model, **config):
    inputs = keras.Input((3,))
    model = kind(inputs, keras.layers.Dense(3)(inputs))
    model.compile("sgd", losses.Seesaw(from_logits=True), **config)
    return model


def test_seesaw_counts_in_a_compiled_step(tmp_path):
    """Counts each epoch once and no validation data, separately for each instance; the counts are saved."""
    model = network()
    model.fit(X, Y, batch_size=4, epochs=2, validation_data=(X, Y), verbose=0)
    np.testing.assert_array_equal(numpy(model.loss.counted), [16, 6, 2])
    model.evaluate(X, Y, verbose=0)
    np.testing.assert_array_equal(numpy(model.loss.counted), [16, 6, 2])
    assert losses.Seesaw(from_logits=True).counted is None
    model.save(tmp_path / "model.keras")
    twin = keras.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(numpy(twin.loss.counted), [16, 6, 2])
    twin.fit(X, Y, batch_size=4, verbose=0)
    np.testing.assert_array_equal(numpy(twin.loss.counted), [24, 9, 3])


def test_seesaw_counts_in_fused_steps_and_under_sam():
    """With two steps per call; a step that evaluates its batch twice counts it once."""
    model = network(steps_per_execution=2)
    model.fit(X, Y, batch_size=4, epochs=1, verbose=0)
    np.testing.assert_array_equal(numpy(model.loss.counted), [8, 3, 1])
    model = network(steps=[tailfit.steps.SAM(rho=0.05)])
    model.fit(X, Y, batch_size=4, epochs=1, verbose=0)
    np.testing.assert_array_equal(numpy(model.loss.counted), [8, 3, 1])


def test_seesaw_counts_include_the_current_batch():
    loss = losses.Seesaw(q=0.0, from_logits=True, reduction=None)
    z = np.zeros((12, 3), "float32")
    for times in (1, 2):
        want = losses.seesaw(Y, z, [8 * times, 3 * times, 1 * times], q=0.0, from_logits=True)
        np.testing.assert_allclose(numpy(loss(Y, z)), numpy(want), rtol=1e-6)


def test_seesaw_counts_by_weight_and_mask():
    from tailfit.keras_private import set_keras_mask

    weights = rng.uniform(0.5, 2, 12).astype("float32")
    keep = np.arange(12) % 4 != 0
    z = ops.convert_to_tensor(np.zeros((12, 3), "float32"))
    set_keras_mask(z, ops.convert_to_tensor(keep))
    loss = losses.Seesaw(from_logits=True, dtype="bfloat16")
    loss(np.where(keep, Y, -1), z, sample_weight=weights)
    want = np.bincount(Y, weights=weights * keep, minlength=3)
    np.testing.assert_allclose(numpy(loss.counted), want, rtol=1e-5)


def test_counting_seesaw_in_a_plain_keras_model(backend):
    model = network(keras.Model)
    if backend == "jax":
        with pytest.raises(StepError, match="Seesaw without class_counts"):
            model.fit(X, Y, verbose=0)
    else:
        model.fit(X, Y, verbose=0)
        np.testing.assert_array_equal(numpy(model.loss.counted), [8, 3, 1])


def test_seesaw_counts_in_a_custom_loop():
    loss = losses.Seesaw(from_logits=True)

    @tailfit.function
    def look(y, z):
        return loss(y, z)

    for _ in range(2):
        look(Y, np.zeros((12, 3), "float32"))
    np.testing.assert_array_equal(numpy(loss.counted), [16, 6, 2])


def influence_model(kind):
    inputs = keras.Input((3,))
    features = keras.layers.Dense(4, activation="relu", kernel_initializer="ones")(inputs)
    head = keras.layers.Dense(3, kernel_initializer="ones", name="head")
    return kind(inputs, layers.WithFeatures()(head(features), features))


@pytest.mark.parametrize("kind", [keras.Model, tailfit.Model])
def test_features_reach_the_loss_in_a_compiled_step(kind, tmp_path):
    model = influence_model(kind)
    model.compile("sgd", losses.InfluenceBalanced(alpha=10.0, from_logits=True))
    hidden = np.maximum(X.sum(-1, keepdims=True), 0).repeat(4, axis=-1)
    want = losses.influence_balanced(
        Y, np.repeat(hidden.sum(-1, keepdims=True), 3, -1), hidden, alpha=10.0, from_logits=True
    )
    assert model.evaluate(X, Y, batch_size=12, verbose=0) == pytest.approx(numpy(want).mean(), rel=1e-5)
    model.fit(X, Y, batch_size=4, verbose=0)
    model.save(tmp_path / "model.keras")
    twin = keras.saving.load_model(tmp_path / "model.keras")
    assert twin.evaluate(X, Y, verbose=0) == pytest.approx(model.evaluate(X, Y, verbose=0), rel=1e-6)


def test_the_head_before_with_features_is_checked():
    inputs = keras.Input((3,))
    outputs = keras.layers.Dense(3, activation="softmax", name="cause")(inputs)
    model = tailfit.Model(inputs, layers.WithFeatures()(outputs, inputs))
    with pytest.raises(ArgumentError, match="'cause'"):
        model.compile("sgd", losses.InfluenceBalanced(from_logits=True))


def test_features_are_released_with_the_predictions():
    from tailfit.layers.attached import _values

    gc.collect()
    before = len(_values)
    z = layers.WithFeatures()(ops.zeros((2, 3)), ops.ones((2, 4)))
    assert len(_values) == before + 1
    del z
    gc.collect()
    assert len(_values) == before


def test_features_of_another_rank_are_refused():
    with pytest.raises(ArgumentError, match="features of shape"):
        layers.WithFeatures()(ops.zeros((2, 3)), ops.ones((2, 4, 5)))


def test_a_resumed_run_continues_counting(tmp_path):
    def run(epochs, folder):
        keras.utils.set_random_seed(0)
        model = network()
        batches = tailfit.Batches(tailfit.data.Arrays(X, Y), batch_size=4, seed=0)
        model.fit(batches, epochs=epochs, verbose=0, callbacks=[tailfit.callbacks.Resume(tmp_path / folder)])
        return model

    run(1, "cut")
    cut, whole = run(2, "cut"), run(2, "whole")
    np.testing.assert_array_equal(numpy(cut.loss.counted), [16, 6, 2])
    for a, b in zip(cut.get_weights(), whole.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
