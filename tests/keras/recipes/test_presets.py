"""Presets of recipes: averaging of weights, and the second stages that papers name."""

from pathlib import Path

import keras
import numpy as np
import pytest
from support.backends import ON_TORCH

import tailfit
from tailfit.errors import DataError
from tailfit.recipes import load_recipe, train


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("presets") / "pumps"
    rng = np.random.default_rng(0)
    y = (np.arange(120) % 5 == 0).astype(int)
    x = rng.normal(y[:, None], size=(120, 4)).astype("float32")
    tailfit.data.save_npy_folder(folder, x, np.array(["ok", "leak"])[y])
    return folder


def recipe(data, **keys):
    return {"data": {"path": str(data)}, "network": {"name": "mlp", "units": [4]}, "epochs": 4, **keys}


def weights(run):
    return run.model.get_weights()


def test_swa_is_the_mean_of_the_last_epochs(data, tmp_path):
    ends = []
    seen = keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: ends.append(seen.model.get_weights()))
    run = train(recipe(data, averaging={"name": "swa", "epochs": 2}), tmp_path / "swa", callbacks=[seen])
    for ours, *last in zip(run.model.trainable_variables, *(each[-4:] for each in ends[-2:]), strict=True):
        np.testing.assert_allclose(keras.ops.convert_to_numpy(ours), np.mean(last, axis=0), rtol=1e-5, atol=1e-7)


@ON_TORCH
def test_ema_is_that_of_the_optimizer(data, tmp_path):
    averaged = {"averaging": {"name": "ema", "momentum": 0.9}}
    by_hand = {"optimizer": {"name": "Adam", "use_ema": True, "ema_momentum": 0.9}}
    ours, theirs = train(recipe(data, **averaged), tmp_path / "0"), train(recipe(data, **by_hand), tmp_path / "1")
    for one, other in zip(weights(ours), weights(theirs), strict=True):
        # On TensorFlow, Keras swaps weights and means around a validation by sums, which round.
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-6)
    assert np.abs(weights(ours)[-2] - weights(train(recipe(data), tmp_path / "2"))[-2]).max() > 1e-4


@pytest.mark.parametrize("stage", ["SmoothClassifier", {"name": "BalanceClassifier", "threshold": 0.5}, "MiSLAS"])
def test_stages_change_the_last_layer_only(data, tmp_path, stage):
    plain, staged = train(recipe(data), tmp_path / "plain"), train(recipe(data, stage=stage), tmp_path / "staged")
    *features, kernel, _ = zip(weights(plain), weights(staged), strict=True)
    for one, other in features:
        np.testing.assert_array_equal(one, other)
    assert np.abs(kernel[0] - kernel[1]).max() > 1e-5


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
