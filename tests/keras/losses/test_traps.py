"""Trap 18: losses that clip probabilities have no gradient where it matters most, and their config forgets `dtype`.

Each test compares Keras and tailfit. If Keras fixes a trap, the first half of its test fails and can be removed.
"""

import keras
import numpy as np
from support.autograd import gradient, numpy

from tailfit import losses

# One badly misclassified sample of class 1.
FAR = np.array([[60.0, -60.0]], "float32")
ONE_HOT = np.array([[0.0, 1.0]], "float32")


def test_trap_18_focal_has_a_gradient_at_any_gap():
    theirs = keras.losses.CategoricalFocalCrossentropy(from_logits=True, alpha=1.0)
    assert not gradient(lambda z: theirs(ONE_HOT, z), FAR).any()
    ours = losses.Focal(from_logits=True)
    np.testing.assert_allclose(gradient(lambda z: ours(ONE_HOT, z), FAR), [[1, -1]], rtol=1e-5)
    np.testing.assert_allclose(numpy(ours(ONE_HOT, FAR)), 120, rtol=1e-6)


def test_trap_18_binary_focal_has_a_gradient_at_any_logit(backend):
    label, z = np.array([[1.0]], "float32"), np.array([[-100.0]], "float32")
    theirs = keras.losses.BinaryFocalCrossentropy(from_logits=True)
    if backend != "tensorflow":  # on TensorFlow, Keras finds the logits behind a sigmoid
        assert not gradient(lambda q: theirs(label, q), z).any()
        assert numpy(theirs(label, z)) < 17
    ours = losses.BinaryFocal(alpha=None, from_logits=True)
    np.testing.assert_allclose(gradient(lambda q: ours(label, q), z), [[-1]], rtol=1e-5)
    np.testing.assert_allclose(numpy(ours(label, z)), 100, rtol=1e-6)


def test_trap_18_generalized_cross_entropy_is_finite_at_probability_0():
    p = np.array([[1.0, 0.0]], "float32")
    theirs = keras.losses.CategoricalGeneralizedCrossEntropy(q=0.7)
    assert not np.isfinite(gradient(lambda q: theirs(np.array([1]), q), p)).all()
    ours = losses.GeneralizedCrossEntropy(q=0.7, from_logits=False)
    assert np.isfinite(gradient(lambda q: ours(np.array([1]), q), p)).all()
    np.testing.assert_allclose(numpy(ours(np.array([1]), p)), 1 / 0.7, rtol=1e-6)
    # From logits the gradient is p ** q: small at a gap of 30, but correct.
    z = np.array([[30.0, 0.0]], "float32")
    slope = gradient(lambda q: losses.GeneralizedCrossEntropy(from_logits=True)(np.array([1]), q), z)
    np.testing.assert_allclose(slope, np.exp(-30 * 0.7) * np.array([[1, -1]]), rtol=1e-5)


def test_trap_18_get_config_keeps_dtype():
    theirs = keras.losses.CategoricalFocalCrossentropy(dtype="bfloat16")
    assert "dtype" not in theirs.get_config()
    for loss in (
        losses.Focal(from_logits=True, dtype="bfloat16"),
        losses.BinaryFocal(from_logits=True, dtype="bfloat16"),
    ):
        twin = type(loss).from_config(loss.get_config())
        assert twin.dtype == "bfloat16"
