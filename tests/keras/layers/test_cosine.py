"""Layers: the head with cosine scores."""

import keras
import numpy as np
import pytest
from keras import ops
from support.autograd import gradient, numpy

from tailfit import layers, losses
from tailfit.errors import ArgumentError

X = np.random.default_rng(0).standard_normal((5, 3)).astype("float32")


def test_cosines_by_hand():
    layer = layers.CosineDense(4)
    got = numpy(layer(X))
    w = layer.get_weights()[0]
    want = (X / np.linalg.norm(X, axis=-1, keepdims=True)) @ (w / np.linalg.norm(w, axis=0))
    np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(numpy(layer(1000 * X)), want, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(numpy(layer(X[None])), want[None], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("size", [0.0, 1e-30, 1e30])
def test_zero_and_extreme_features(size):
    layer = layers.CosineDense(2, kernel_initializer="identity")
    x = np.full((1, 2), size, "float32")
    np.testing.assert_allclose(numpy(layer(x)), np.full((1, 2), np.sqrt(0.5) if size else 0), rtol=1e-6)
    slope = gradient(lambda q: ops.sum(layer(q)[:, 0]), x)
    assert np.isfinite(slope).all()


def test_gradient_of_a_cosine():
    """The gradient is orthogonal to the features: their norm has no effect."""
    layer = layers.CosineDense(1, kernel_initializer="ones")
    slope = gradient(lambda q: ops.sum(layer(q)), X)
    np.testing.assert_allclose((slope * X).sum(-1), 0, atol=1e-6)
    u = np.ones(3) / np.sqrt(3)
    unit = X / np.linalg.norm(X, axis=-1, keepdims=True)
    want = (u - (unit @ u)[:, None] * unit) / np.linalg.norm(X, axis=-1, keepdims=True)
    np.testing.assert_allclose(slope, want, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("dtype", ["mixed_float16", "mixed_bfloat16"])
def test_half_precision(dtype):
    """300 squared overflows float16."""
    layer = layers.CosineDense(1, kernel_initializer="ones", dtype=dtype)
    got = layer(np.full((1, 4), 300.0, "float32"))
    assert keras.backend.standardize_dtype(got.dtype) == dtype.removeprefix("mixed_")
    np.testing.assert_allclose(numpy(got), [[1.0]], rtol=1e-2)


def test_train_with_ldam_and_save(tmp_path):
    inputs = keras.Input((3,))
    model = keras.Model(inputs, layers.CosineDense(2, kernel_regularizer="l2")(inputs))
    model.compile(keras.optimizers.SGD(1.0), losses.LDAM([90, 10], scale=5.0, from_logits=True))
    y = (X[:, 0] > 0).astype("int32")
    history = model.fit(X, y, epochs=8, verbose=0).history["loss"]
    assert history[-1] < 0.5 * history[0]
    model.save(tmp_path / "model.keras")
    twin = keras.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(twin.predict(X, verbose=0), model.predict(X, verbose=0))
    assert twin.layers[-1].get_config() == model.layers[-1].get_config()


def test_units_are_checked():
    for units in (0, 2.5, True, "3"):
        with pytest.raises(ArgumentError, match="units="):
            layers.CosineDense(units)
