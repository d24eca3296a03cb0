"""CCSAM against the perturbed classifiers of each class, built one by one in NumPy."""

from typing import Any

import keras
import numpy as np
import pytest

import tailfit
from tailfit import steps
from tailfit.errors import StepError

C = 3
RNG = np.random.default_rng(9)
X = RNG.normal(size=(8, 4)).astype("float32")
Y = np.array([0, 0, 1, 2, 0, 1, 0, 2])
COUNTS = [160, 32, 10]


def network(given: list[Any], *, bias: bool = True, rate: float = 0.5) -> Any:
    keras.utils.clear_session(free_memory=False)
    keras.utils.set_random_seed(4)
    inputs = keras.Input((4,))
    features = keras.layers.Dense(5, activation="tanh", use_bias=False)(inputs)
    model = tailfit.Model(inputs, keras.layers.Dense(C, use_bias=bias)(features))
    model.compile(keras.optimizers.SGD(rate), tailfit.losses.CrossEntropy(from_logits=True), steps=given)
    return model


def softmax(z: Any) -> Any:
    e = np.exp(z - z.max(axis=1, keepdims=True))
    return e / e.sum(axis=1, keepdims=True)


def step_in_numpy(model: Any, weights: Any, rho: float, share: float) -> tuple[float, list[Any]]:
    """The loss and the weights after a step of SGD(0.5), in float64: one perturbed classifier for each class."""
    hidden, kernel, *rest = (each.astype(float) for each in model.get_weights())
    last = np.concatenate([kernel, rest[0][None]]) if rest else kernel
    h = np.tanh(X @ hidden)
    f = np.concatenate([h, np.ones((8, 1))], axis=1) if rest else h
    hot, counted = np.eye(C)[Y], weights[:, None] / 8

    def at(classifier: Any, rows: Any) -> tuple[Any, Any, Any]:
        """Sum of the losses of some rows, and the gradients of the classifier and of the features."""
        p = softmax(f[rows] @ classifier)
        slopes = counted[rows] * (p - hot[rows])
        return -(counted[rows] * hot[rows] * np.log(p)).sum(), f[rows].T @ slopes, slopes @ classifier.T

    value, of_last, of_f = at(last, np.arange(8))
    value, of_last, of_f = (1 - share) * value, (1 - share) * of_last, (1 - share) * of_f
    for c in range(C):
        rows = np.flatnonzero(c == Y)
        _, own, _ = at(last, rows)
        moved = last + rho * (max(COUNTS) / COUNTS[c]) ** 0.25 * own / np.linalg.norm(own)
        loss, g_last, g_f = at(moved, rows)
        value, of_last = value + share * loss, of_last + share * g_last
        of_f[rows] += share * g_f
    of_hidden = X.T @ (of_f[:, :5] * (1 - h**2))
    last = last - 0.5 * of_last
    return value, [hidden - 0.5 * of_hidden, last[:5], *([last[5]] if rest else [])]


@pytest.mark.parametrize("bias", [True, False])
def test_each_class_is_trained_at_a_classifier_of_its_own(bias):
    weights = RNG.uniform(0.5, 2, 8).astype("float32")
    model = network([steps.CCSAM(class_counts=COUNTS, rho=0.4, share=0.6)], bias=bias)
    value, expected = step_in_numpy(model, weights, 0.4, 0.6)
    history = model.fit(X, Y, sample_weight=weights, batch_size=8, verbose=0).history
    assert history["loss"][0] == pytest.approx(value, rel=1e-4)
    for ours, theirs in zip(model.get_weights(), expected, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("options", [{"rho": 0.0}, {"share": 0.0}])
def test_without_radius_or_share_it_is_plain_training(options):
    ours, theirs = network([steps.CCSAM(class_counts=COUNTS, **options)]), network([])
    for model in (ours, theirs):
        model.fit(X, Y, epochs=2, batch_size=4, shuffle=False, verbose=0)
    for one, other in zip(ours.get_weights(), theirs.get_weights(), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-6)


def test_a_fitted_class_gives_finite_numbers():
    """Its gradient is 0."""
    model = network([steps.CCSAM(class_counts=COUNTS, rho=1.0)])
    hidden, kernel, _ = model.get_weights()
    model.set_weights([hidden, 0 * kernel, np.array([200.0, 0.0, 0.0], "float32")])
    model.fit(X, 0 * Y, verbose=0)
    assert all(np.isfinite(each).all() for each in model.get_weights())


def test_other_last_layers_are_refused():
    inputs = keras.Input((4,))
    for last in (keras.layers.Dense(C, activation="softmax"), tailfit.layers.CosineDense(C)):
        model = tailfit.Model(inputs, last(inputs))
        with pytest.raises(StepError, match="a Dense layer of logits, for the step CCSAM"):
            model.compile("sgd", "mse", steps=[steps.CCSAM(class_counts=COUNTS)])
    with pytest.raises(StepError, match="with 2 class counts"):
        network([steps.CCSAM(class_counts=[3, 1])]).fit(X, Y, verbose=0)
