"""Presets of recipes: averaging of weights, and the second stages that papers name."""

import re
from pathlib import Path

import keras
import numpy as np
import pytest
import yaml
from support.paths import ROOT
from support.pumps import saved_pumps

import tailfit
from tailfit.errors import ArgumentError, DataError
from tailfit.recipes import load_recipe, train
from tailfit.recipes.distilling import frozen_copy, start_anew
from tailfit.recipes.parts import open_parts

pytestmark = pytest.mark.above_training


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    return saved_pumps(tmp_path_factory.mktemp("presets"), samples=120, every=5, shape=(4,))


def methods():
    """The keys of a recipe for each method in the table of `docs/methods.md`."""
    page = (ROOT / "docs" / "methods.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| ([^|]+) \| [^|]+ \| ([^|]+) \|$", page.partition("### ")[0], re.M)
    deferred = {"name": "Deferred", "before": [1, 1], "after": [0.5, 2], "at": 1}
    for name, cell in rows[1:]:
        keys = [yaml.safe_load(code) for code in re.findall("`([a-z_]+: [^`]+)`", cell)]
        merged = {key: value for each in keys for key, value in each.items()}
        yield name.strip(), merged | ({"class_weight": deferred} if "deferred weights" in cell else {})


@pytest.fixture(scope="module")
def series(tmp_path_factory) -> Path:
    return saved_pumps(tmp_path_factory.mktemp("series"), samples=48, every=4, shape=(16, 2))


def recipe(data, **keys):
    return {"data": {"path": str(data)}, "network": {"name": "mlp", "units": [4]}, "epochs": 4, **keys}


def weights(run):
    return run.model.get_weights()


@pytest.mark.mostly_on("torch")
@pytest.mark.parametrize(("name", "keys"), list(methods()))
def test_methods_of_the_page_train(series, tmp_path, name, keys):
    assert keys, f"no key of a recipe in the row {name!r}"
    run = train({"data": {"path": str(series)}, "epochs": 2, **keys}, tmp_path / "run")
    assert np.isfinite(run.history["loss"]).all()
    assert all(np.isfinite(each).all() for each in weights(run))


def test_swa_is_the_mean_of_the_last_epochs(data, tmp_path):
    ends = []
    seen = keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: ends.append(seen.model.get_weights()))
    run = train(recipe(data, averaging={"name": "swa", "epochs": 2}), tmp_path / "swa", callbacks=[seen])
    for ours, *last in zip(run.model.trainable_variables, *(each[-4:] for each in ends[-2:]), strict=True):
        np.testing.assert_allclose(keras.ops.convert_to_numpy(ours), np.mean(last, axis=0), rtol=1e-5, atol=1e-7)


@pytest.mark.mostly_on("torch")
def test_ema_is_that_of_the_optimizer(data, tmp_path):
    averaged = {"averaging": {"name": "ema", "momentum": 0.9}}
    by_hand = {"optimizer": {"name": "Adam", "use_ema": True, "ema_momentum": 0.9}}
    ours, theirs = train(recipe(data, **averaged), tmp_path / "0"), train(recipe(data, **by_hand), tmp_path / "1")
    for one, other in zip(weights(ours), weights(theirs), strict=True):
        # On TensorFlow, Keras swaps weights and means around a validation by sums, which round.
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-6)
    assert np.abs(weights(ours)[-2] - weights(train(recipe(data), tmp_path / "2"))[-2]).max() > 1e-4


def test_the_classifier_is_trained_again_after_clouded_logits(data, tmp_path):
    keys = {"loss": {"name": "LDAM", "max_margin": 0}, "steps": ["GCL"]}
    plain = train(recipe(data, **keys), tmp_path / "plain")
    staged = train(recipe(data, **keys, stage="RetrainClassifier"), tmp_path / "staged")
    *features, kernel = zip(weights(plain), weights(staged), strict=True)
    for one, other in features:
        np.testing.assert_array_equal(one, other)
    assert np.abs(kernel[0] - kernel[1]).max() > 1e-3
    assert staged.model.loss.scale == 30.0


@pytest.mark.parametrize(
    "stage", ["SmoothClassifier", {"name": "BalanceClassifier", "threshold": 0.5}, "RidgeClassifier", "MiSLAS"]
)
def test_stages_change_the_last_layer_only(data, tmp_path, stage):
    plain, staged = train(recipe(data), tmp_path / "plain"), train(recipe(data, stage=stage), tmp_path / "staged")
    *features, kernel, _ = zip(weights(plain), weights(staged), strict=True)
    for one, other in features:
        np.testing.assert_array_equal(one, other)
    assert np.abs(kernel[0] - kernel[1]).max() > 1e-5


def test_ridge_regression_has_the_weights_and_the_transform_of_the_training(data, tmp_path):
    """The last layer is that of `ridge_classifier` on the same weighted samples; a transform changes it."""
    options = {"stage": {"name": "RidgeClassifier", "epochs": 3}, "class_weight": "balanced", "epochs": 1}
    runs = {
        name: train(recipe(data, **options, **more), tmp_path / name)
        for name, more in {"plain": {}, "varied": {"transform": {"name": "Jitter", "sigma": 0.5}}}.items()
    }
    last = {name: weights(run)[-2] for name, run in runs.items()}
    assert np.abs(last["varied"] - last["plain"]).max() > 1e-3
    parts = open_parts(load_recipe(recipe(data, **options)))
    again = tailfit.Batches(parts.train, class_weight="balanced")
    tailfit.stages.ridge_classifier(runs["plain"].model, again)
    np.testing.assert_allclose(weights(runs["plain"])[-2], last["plain"], atol=1e-4)


@pytest.mark.mostly_on("torch")
def test_dive_trains_a_student_of_the_trained_network(data, tmp_path):
    """The student continues from nothing of the teacher, and the run is the same when it is repeated."""
    teacher = train(recipe(data, loss="BalancedSoftmax"), tmp_path / "teacher")
    ours, again = (
        train(recipe(data, loss="BalancedSoftmax", stage={"name": "DiVE", "epochs": 3}), tmp_path / name)
        for name in ("student", "again")
    )
    for one, other in zip(weights(ours), weights(again), strict=True):
        np.testing.assert_array_equal(one, other)
    assert np.abs(weights(ours)[-2] - weights(teacher)[-2]).max() > 1e-2
    assert ours.evaluation.balanced_accuracy > 0.6
    assert tailfit.recipes.evaluate_run(tmp_path / "student").accuracy == ours.evaluation.accuracy


def test_a_new_start_keeps_what_is_not_trained():
    keras.utils.set_random_seed(1)
    x = np.random.default_rng(0).normal(3, 2, (20, 2)).astype("float32")
    inputs = keras.Input((2,))
    normalized = tailfit.data.Normalize.fit(tailfit.data.Arrays(x)).layer()(inputs)
    hidden = keras.layers.BatchNormalization()(keras.layers.Dense(3)(normalized))
    model = tailfit.Model(inputs, keras.layers.Dense(2)(hidden))
    model.compile("sgd", tailfit.losses.CrossEntropy(from_logits=True))
    model.fit(x, np.arange(20) % 2, verbose=0)
    before, predicted = weights_by_layer(model), model.predict(x, verbose=0)
    copy = frozen_copy(model)
    start_anew(model)
    np.testing.assert_allclose(copy.predict(x, verbose=0), predicted, rtol=1e-5)
    assert not copy.trainable_variables
    for name, after in weights_by_layer(model).items():
        same = all(np.array_equal(one, other) for one, other in zip(before[name], after, strict=True))
        assert same == name.startswith(("input", "normal")), name


def weights_by_layer(model):
    return {layer.name: layer.get_weights() for layer in model.layers if layer.get_weights()}


@pytest.mark.mostly_on("torch")
@pytest.mark.parametrize("step", [{"name": "BCL", "units": 4}, "RIDE", "SADE", "CCSAM"])
def test_steps_of_papers_are_served_by_layers_of_keras(data, tmp_path, step):
    run = train(recipe(data, steps=[step]), tmp_path / "run")
    served = keras.saving.load_model(tmp_path / "run" / "model.keras")
    x = np.ones((3, 4), "float32")
    np.testing.assert_allclose(served.predict(x, verbose=0), run.model.predict(x, verbose=0), rtol=1e-4, atol=1e-5)
    assert {type(layer).__module__.partition(".")[0] for layer in served.layers} == {"keras"}
    assert tailfit.recipes.evaluate_run(tmp_path / "run").accuracy == run.evaluation.accuracy


def test_a_loss_and_a_step_that_need_different_heads_are_refused(data, tmp_path):
    with pytest.raises(ArgumentError, match=r"LDAM and SADE, which need different last layers"):
        train(recipe(data, loss="LDAM", steps=["SADE"]), tmp_path / "run")


@pytest.mark.parametrize(
    ("keys", "received"),
    [
        ({"averaging": "swa", "early_stopping": {}}, "averaging together with early_stopping"),
        ({"averaging": "ema", "callbacks": ["SwapEMAWeights"]}, "averaging together with SwapEMAWeights"),
        ({"averaging": {"name": "swa", "epochs": 9}}, "epochs: 9 with epochs: 4"),
        ({"averaging": "polyak"}, "averaging"),
    ],
)
def test_averaging_that_contradicts_the_recipe_is_refused(data, keys, received):
    with pytest.raises(DataError, match=received):
        load_recipe(recipe(data, **keys))
