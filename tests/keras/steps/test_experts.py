"""RIDE and SADE against the authors' formulas in NumPy, and the layer of experts."""

from typing import Any

import keras
import numpy as np
import pytest
from keras import ops

import tailfit
from tailfit import steps
from tailfit.errors import ArgumentError, StepError
from tailfit.layers import Experts
from tailfit.layers.experts import expert_scores_of
from tailfit.recipes.serving import serving_model
from tailfit.steps import Batch, Target

C = 4
COUNTS = [100, 20, 50, 4]
RNG = np.random.default_rng(6)
X = RNG.normal(size=(9, 5)).astype("float32")
Y = np.array([0, 0, 1, 3, 0, 2, 0, 1, 3])


def as_numpy(value: Any) -> Any:
    return np.array(ops.convert_to_numpy(value))


def network(given: list[Any], **options: Any) -> Any:
    keras.utils.clear_session(free_memory=False)
    keras.utils.set_random_seed(2)
    inputs = keras.Input((5,))
    model = tailfit.Model(inputs, Experts(C, experts=options.pop("experts", 3), hidden=6)(inputs))
    options = {"optimizer": keras.optimizers.SGD(0.1), **options}
    model.compile(loss=tailfit.losses.CrossEntropy(from_logits=True), steps=given, **options)
    return model


def scores_in_numpy(model: Any, x: Any) -> Any:
    """The scores of each expert, `(batch, experts, C)`."""
    layer = model.layers[-1]
    found = []
    for inner, outer in zip(layer.inner, layer.outer, strict=True):
        hidden, bias = inner.get_weights()
        kernel, last_bias = outer.get_weights()
        found.append(np.maximum(x @ hidden + bias, 0) @ kernel + last_bias)
    return np.stack(found, axis=1).astype(float)


def log_softmax(z: Any) -> Any:
    return z - np.log(np.exp(z).sum(axis=-1, keepdims=True))


def cross_entropy(z: Any, y: Any) -> Any:
    return -log_softmax(z)[np.arange(len(y)), y]


def ride_in_numpy(z: Any, y: Any, diversity: float, temperature: float, reweight: float) -> Any:
    """The loss of each sample, after the authors' code."""
    shares = np.array(COUNTS) / np.sum(COUNTS)
    per_class = C * shares * reweight + 1 - reweight
    t = temperature * per_class / per_class.max()
    total = 0.0
    for expert in range(z.shape[1]):
        total += cross_entropy(z[:, expert], y)
        mean, own = log_softmax(z.mean(axis=1) / t), log_softmax(z[:, expert] / t)
        total -= diversity * t.mean() ** 2 * (np.exp(mean) * (mean - own)).sum(axis=1)
    return total


def sade_in_numpy(z: Any, y: Any, tau: float) -> Any:
    """The loss of each sample: softmax, balanced softmax, and inverse softmax."""
    prior = np.array(COUNTS) / np.sum(COUNTS)
    inverse = np.empty(C)
    inverse[np.argsort(prior)] = np.sort(prior)[::-1]
    balanced, reverse = z[:, 1] + np.log(prior), z[:, 2] + np.log(prior) - tau * np.log(inverse)
    return cross_entropy(z[:, 0], y) + cross_entropy(balanced, y) + cross_entropy(reverse, y)


CASES: dict[str, Any] = {
    "RIDE": (
        lambda: steps.RIDE(class_counts=COUNTS, diversity=0.4, temperature=1.5, reweight=0.3),
        lambda z, y: ride_in_numpy(z, y, 0.4, 1.5, 0.3),
    ),
    "SADE": (lambda: steps.SADE(class_counts=COUNTS, tau=1.5), lambda z, y: sade_in_numpy(z, y, 1.5)),
}


@pytest.mark.parametrize("name", CASES)
def test_the_loss_of_a_step_is_that_of_the_authors(name):
    step, in_numpy = CASES[name]
    weights = RNG.uniform(0.5, 2, 9).astype("float32")
    model = network([step()], metrics=["accuracy"])
    z = scores_in_numpy(model, X)
    history = model.fit(X, Y, sample_weight=weights, batch_size=9, verbose=0).history
    assert history["loss"][0] == pytest.approx(float((in_numpy(z, Y) * weights).mean()), rel=1e-4)
    assert history["accuracy"][0] == pytest.approx(float((z.mean(axis=1).argmax(axis=1) == Y).mean()))


def test_the_mean_of_experts_is_a_constant_of_the_divergence():
    """A gradient through the mean would be another one."""
    step = steps.RIDE(class_counts=COUNTS, diversity=1.0)
    model = network([step])
    z = scores_in_numpy(model, X)
    t = step._temperatures()
    p, mean = np.exp(log_softmax(z / t[None, None])), np.exp(log_softmax(z.mean(axis=1) / t))
    own = np.exp(log_softmax(z)) - np.eye(C)[Y][:, None]
    slopes = own - t.mean() ** 2 * (p - mean[:, None]) / t
    bias = [outer.get_weights()[1] for outer in model.layers[-1].outer]
    model.fit(X, Y, batch_size=9, verbose=0)
    for expert, outer in enumerate(model.layers[-1].outer):
        expected = bias[expert] - 0.1 * slopes[:, expert].mean(axis=0)
        np.testing.assert_allclose(outer.get_weights()[1], expected, rtol=1e-4, atol=1e-6)


def test_penalties_count_once_however_many_experts_there_are():
    def trained(experts: int, given: list[Any]) -> float:
        keras.utils.clear_session(free_memory=False)
        keras.utils.set_random_seed(2)
        inputs = keras.Input((5,))
        x = keras.layers.Dense(3, kernel_regularizer=keras.regularizers.L2(10.0), kernel_initializer="ones")(inputs)
        model = tailfit.Model(inputs, Experts(C, experts=experts)(x))
        model.compile(keras.optimizers.SGD(0.0), tailfit.losses.CrossEntropy(from_logits=True), steps=given)
        return float(model.fit(np.zeros((4, 5)), np.zeros(4, int), verbose=0).history["loss"][0])

    # Scores of 0 at first: the loss of an expert is log C.
    for experts in (1, 3):
        found = trained(experts, [steps.RIDE(class_counts=COUNTS)])
        assert found == pytest.approx(experts * np.log(C) + 150.0, rel=1e-5)


def test_experts_are_served_by_dense_layers():
    model = network([])
    served = serving_model(model)
    assert [type(layer).__module__.partition(".")[0] for layer in served.layers] == ["keras"] * 3
    mean = scores_in_numpy(model, X).mean(axis=1)
    np.testing.assert_allclose(served.predict(X, verbose=0), mean, rtol=1e-4, atol=1e-6)


def test_a_saved_network_of_experts_predicts_the_same(tmp_path):
    model = network([])
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(loaded.predict(X, verbose=0), model.predict(X, verbose=0))
    assert tuple(expert_scores_of(loaded.layers[-1](X)).shape) == (9, 3, C)
    half = Experts(C, dtype="mixed_float16")(ops.ones((2, 3)))
    assert keras.backend.standardize_dtype(half.dtype) == "float16"


@pytest.mark.parametrize("step", [steps.SADE(class_counts=COUNTS), steps.RIDE(class_counts=COUNTS)])
def test_predictions_without_these_experts_are_refused(step):
    loose = ops.zeros((2, C))
    with pytest.raises(StepError, match=rf"without experts for the step {type(step).__name__}"):
        step.loss(None, lambda batch, y_pred: 0.0, Batch(loose, (Target(Y[:2]),)), loose)
    other = Experts(3)(ops.ones((2, 3)))
    with pytest.raises(StepError, match=r"shapes .*3.* of 3 experts"):
        step.loss(None, lambda batch, y_pred: 0.0, Batch(loose, (Target(Y[:2]),)), other)


def test_sade_needs_three_experts():
    with pytest.raises(StepError, match="of 2 experts for the step SADE"):
        network([steps.SADE(class_counts=COUNTS)], experts=2).fit(X, Y, verbose=0)


@pytest.mark.parametrize("options", [{"units": 0}, {"units": 3, "experts": 0}, {"units": 3, "hidden": 0.5}])
def test_bad_sizes_are_refused(options):
    with pytest.raises(ArgumentError, match=list(options)[-1]):
        Experts(**options)
