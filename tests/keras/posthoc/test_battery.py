"""Checks of all corrections. They are discovered; each names its example configurations here."""

import inspect

import keras
import numpy as np
import pytest
from scipy.special import softmax
from sklearn.base import clone
from support.autograd import numpy
from support.corrections import (
    CLASSES,
    CODES,
    COSTS,
    COUNTS,
    EXAMPLES,
    LOGITS,
    PROBABILITIES,
    WEIGHTS,
    C,
    fit,
    fitted,
)

import tailfit
from tailfit import posthoc
from tailfit.errors import ArgumentError, DataError, TailfitError

every = pytest.mark.parametrize(
    ("name", "config"),
    [
        pytest.param(name, config, id=f"{name}-{index}")
        for name in CLASSES
        for index, config in enumerate(EXAMPLES.get(name, []))
    ],
)


def test_every_correction_has_examples():
    assert CLASSES.keys() == EXAMPLES.keys(), "name the example configurations of each correction in EXAMPLES"
    assert posthoc.__all__ == sorted(posthoc.__all__)


@every
def test_probabilities_are_corrected_like_their_logits(name, config):
    of_probabilities = fitted(name, config, from_logits=False)
    logarithms = np.log(PROBABILITIES)
    of_logits = fit(CLASSES[name](**config, from_logits=True), logarithms, CODES)
    logits, probabilities = of_logits.transform(logarithms), of_probabilities.transform(PROBABILITIES)
    if config.get("criterion") is COSTS:  # both return costs
        np.testing.assert_allclose(probabilities, logits, rtol=1e-5, atol=1e-6)
    else:
        np.testing.assert_allclose(probabilities, softmax(logits, axis=1), rtol=1e-3, atol=1e-5)
        np.testing.assert_allclose(probabilities.sum(axis=1), 1, rtol=1e-12)
    np.testing.assert_array_equal(of_logits.predict(logarithms), logits.argmax(1))
    np.testing.assert_array_equal(of_probabilities.predict(PROBABILITIES), logits.argmax(1))


@every
@pytest.mark.parametrize("from_logits", [True, False])
def test_a_saved_model_includes_the_correction(name, config, from_logits, tmp_path):
    correction = fitted(name, config, from_logits=from_logits)
    scores = LOGITS if from_logits else PROBABILITIES
    inputs = keras.Input((C,))
    outputs = inputs if from_logits else keras.layers.Softmax()(inputs)
    model = correction.append_to(tailfit.Model(inputs, keras.layers.Identity()(outputs)))
    assert isinstance(model, tailfit.Model)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    for each in (model, loaded):
        found = each.predict(LOGITS, verbose=0, batch_size=500)
        np.testing.assert_allclose(found, correction.transform(scores), rtol=2e-5, atol=2e-6)
        np.testing.assert_array_equal(found.argmax(1), correction.predict(scores))


@every
def test_the_layer_computes_in_float32_for_every_dtype(name, config):
    correction = fitted(name, config)
    layer = correction.as_layer(name="mine")
    half = keras.ops.cast(LOGITS[:8], "bfloat16")
    found = layer(half)
    assert keras.backend.standardize_dtype(found.dtype) == "float32"
    np.testing.assert_allclose(numpy(found), correction.transform(numpy(half)), rtol=1e-5, atol=1e-5)
    assert layer.name == "mine"
    assert layer.compute_output_spec(keras.KerasTensor((None, 3, C), "float16")).shape == (None, 3, C)
    twin = keras.layers.deserialize(keras.layers.serialize(layer))
    np.testing.assert_array_equal(numpy(twin(half)), numpy(found))


@every
def test_extra_axes(name, config):
    correction = fitted(name, config)
    shaped = LOGITS.reshape(50, 20, C)
    np.testing.assert_array_equal(correction.transform(shaped), correction.transform(LOGITS).reshape(50, 20, C))
    assert correction.predict(shaped).shape == (50, 20)


@every
def test_a_weight_of_k_equals_k_copies(name, config):
    weighted = fitted(name, config, weights=WEIGHTS)
    copies = np.repeat(np.arange(1000), WEIGHTS)
    repeated = fit(CLASSES[name](**config, from_logits=True), LOGITS[copies], CODES[copies])
    np.testing.assert_allclose(weighted.transform(LOGITS), repeated.transform(LOGITS), rtol=1e-4, atol=1e-4)


@every
def test_is_a_scikit_learn_estimator(name, config):
    correction = fitted(name, config)
    before = correction.transform(LOGITS)
    twin = clone(correction)
    assert twin.get_params() == correction.get_params()
    assert set(inspect.signature(CLASSES[name]).parameters) == correction.get_params().keys()
    np.testing.assert_array_equal(fit(twin, LOGITS, CODES).transform(LOGITS), before)
    np.testing.assert_array_equal(correction.transform(LOGITS), before)
    assert name in repr(correction)


@every
def test_invalid_validation_data_is_refused(name, config):
    correction = CLASSES[name](**config, from_logits=True)
    for scores, y, weights, message in [
        (PROBABILITIES, CODES, None, "from_logits=False"),
        (LOGITS, CODES[:-1], None, "one row of scores for each"),
        (np.where(LOGITS > 9, np.nan, LOGITS), CODES, None, "NaN"),
        (LOGITS[:, 0], CODES, None, "scores of shape"),
        (LOGITS, CODES, -np.ones(1000), "sample_weight"),
    ]:
        with pytest.raises(TailfitError, match=message):
            fit(correction, scores, y, weights)
    if name != "TauNorm":
        with pytest.raises(DataError, match="row 0"):
            CLASSES[name](**config, from_logits=False).fit(LOGITS, CODES)
        with pytest.raises(ArgumentError, match="no from_logits"):
            CLASSES[name](**config)
    with pytest.raises(ArgumentError, match="from_logits"):
        CLASSES[name](**config, from_logits=None)
    ready = fit(correction, LOGITS, CODES)
    with pytest.raises(ArgumentError, match="scores of shape"):
        ready.transform(LOGITS[:, :3])
    with pytest.raises(ArgumentError, match="a correction of 4 classes"):
        ready.as_layer()(LOGITS[:, :3])


def test_append_to_refuses_unsuitable_models():
    correction = posthoc.LogitAdjustment(COUNTS, from_logits=True)
    inputs = keras.Input((3,))
    with pytest.raises(ArgumentError, match="LogitAdjustment with from_logits=True for the output layer"):
        correction.append_to(keras.Model(inputs, keras.layers.Dense(C, activation="softmax")(inputs)))
    with pytest.raises(ArgumentError, match="with 2 outputs"):
        correction.append_to(keras.Model(inputs, [keras.layers.Dense(C)(inputs)] * 2))
    plain = correction.append_to(keras.Sequential([inputs, keras.layers.Dense(C)]))
    assert not isinstance(plain, tailfit.Model)


@pytest.mark.only_on("tensorflow")  # exported by TensorFlow
def test_an_exported_model_needs_no_tailfit(tmp_path):
    import tensorflow as tf

    inputs = keras.Input((C,))
    correction = posthoc.LogitAdjustment(COUNTS, from_logits=True)
    model = correction.append_to(keras.Model(inputs, keras.layers.Identity()(inputs)))
    model.export(tmp_path / "served", verbose=False)
    served = tf.saved_model.load(str(tmp_path / "served"))
    np.testing.assert_allclose(served.serve(LOGITS[:3]), correction.transform(LOGITS[:3]), rtol=1e-5)


class TestLogitAdjustment:
    def test_tau_0_changes_nothing_and_equal_shares_no_decision(self):
        np.testing.assert_array_equal(posthoc.LogitAdjustment(COUNTS, 0, from_logits=True).transform(LOGITS), LOGITS)
        level = posthoc.LogitAdjustment([1] * C, from_logits=False)
        np.testing.assert_allclose(level.transform(PROBABILITIES), PROBABILITIES, rtol=1e-6)

    def test_equals_the_correction_by_the_loss(self):
        """LogitAdjusted of scores minus the log prior is plain cross-entropy: both correct the same shift."""
        adjusted = posthoc.LogitAdjustment(COUNTS, 0.7, from_logits=True).transform(LOGITS)
        loss = tailfit.losses.logit_adjusted(CODES, adjusted.astype("float32"), COUNTS, tau=0.7, from_logits=True)
        plain = tailfit.losses.cross_entropy(CODES, LOGITS, from_logits=True)
        np.testing.assert_allclose(numpy(loss), numpy(plain), rtol=1e-4, atol=1e-5)

    def test_menons_gaussians(self):
        """From the true posterior it makes the Bayes rule for the balanced error, sign(x1 + x2), with 7.86 % error."""
        rng = np.random.default_rng(0)
        y = (rng.random(200_000) < 0.05).astype(int)
        x = rng.normal(size=(200_000, 2)) + np.where(y, 1.0, -1.0)[:, None]
        logits = np.stack([np.zeros(len(y)), 2 * x.sum(axis=1) + np.log(0.05 / 0.95)], axis=1)
        called = posthoc.LogitAdjustment([0.95, 0.05], from_logits=True).predict(logits)
        np.testing.assert_array_equal(called, x.sum(axis=1) > 0)
        assert np.mean([(called[y == c] != c).mean() for c in (0, 1)]) == pytest.approx(0.0786, abs=0.004)
        assert np.mean([(logits.argmax(1)[y == c] != c).mean() for c in (0, 1)]) > 0.17
        chosen = posthoc.LogitAdjustment([0.95, 0.05], None, from_logits=True).fit(logits, y)
        assert chosen.tau_ == pytest.approx(1, abs=0.2)

    def test_counts_from_batches_and_shares_are_equivalent(self):
        batches = tailfit.Batches(tailfit.data.Arrays(LOGITS, CODES), 10)
        of_batches = posthoc.LogitAdjustment(batches, from_logits=True)
        shares = posthoc.LogitAdjustment(np.array(COUNTS) / 1000, from_logits=True)
        np.testing.assert_allclose(of_batches.transform(LOGITS), shares.transform(LOGITS), rtol=1e-12)

    def test_bad_arguments(self):
        for make, match in [
            (lambda: posthoc.LogitAdjustment([1, 0], from_logits=True), "prior with 0 for class 1"),
            (lambda: posthoc.LogitAdjustment([1], from_logits=True), "prior"),
            (lambda: posthoc.LogitAdjustment(COUNTS, -1, from_logits=True), "tau=-1"),
            (lambda: posthoc.LogitAdjustment(COUNTS, None, from_logits=True).transform(LOGITS), "not fitted"),
            (lambda: posthoc.LogitAdjustment(COUNTS, None, from_logits=True).as_layer(), "not fitted"),
        ]:
            with pytest.raises(ArgumentError, match=match):
                make()
