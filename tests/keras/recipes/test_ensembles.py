"""Ensembles: members with seeds of their own, mean probabilities, exact resume, and use of the run as any other."""

from pathlib import Path

import keras
import numpy as np
import pytest
from scipy.special import softmax

import tailfit
from tailfit.errors import ArgumentError, DataError
from tailfit.exporting.network import foreign_classes
from tailfit.recipes import evaluate_run, load_recipe, train
from tailfit.recipes.predicting import predict
from tailfit.recipes.trained import load_trained

pytestmark = pytest.mark.above_training


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("ensembles") / "pumps"
    rng = np.random.default_rng(0)
    y = np.arange(90) % 3
    x = rng.normal(y[:, None], size=(90, 4)).astype("float32")
    tailfit.data.save_npy_folder(folder, x, np.array(["ok", "leak", "drift"])[y])
    return folder


def recipe(data, **keys):
    network = {"name": "mlp", "units": [4]}
    return {"data": {"path": str(data)}, "network": network, "epochs": 2, "ensemble": 3, **keys}


def records(data):
    source = tailfit.data.open(str(data))
    return source.read(np.arange(len(source)))


@pytest.mark.mostly_on("torch")
def test_probabilities_are_the_mean_of_the_members(data, tmp_path):
    run = train(recipe(data), tmp_path / "run")
    x = records(data)
    members = [load_trained(tmp_path / "run" / "members" / str(number)).model for number in range(3)]
    parts = [softmax(member.predict(x, verbose=0), axis=1) for member in members]
    assert np.abs(parts[0] - parts[1]).max() > 1e-3, "members differ by their seeds"
    mean = np.mean(parts, axis=0)
    np.testing.assert_allclose(np.exp(run.model.predict(x, verbose=0)), mean, rtol=1e-4)
    again = load_trained(tmp_path / "run").model
    np.testing.assert_allclose(again.predict(x, verbose=0), run.model.predict(x, verbose=0), rtol=1e-5)
    assert evaluate_run(tmp_path / "run").accuracy == run.evaluation.accuracy
    predict(tmp_path / "run", data, tmp_path / "scores.csv")
    assert (tmp_path / "scores.csv").is_file()
    served = keras.saving.load_model(tmp_path / "run" / "model.keras")
    assert foreign_classes(served.get_config()) == [], "it loads without tailfit"
    np.testing.assert_allclose(np.exp(served.predict(x, verbose=0)), mean, rtol=1e-4)


class StoppedError(Exception):
    pass


def test_an_interrupted_ensemble_continues_to_the_bit(data, tmp_path):
    def stop(epoch, figures):
        if figures["member"] == 2:
            raise StoppedError

    whole = train(recipe(data), tmp_path / "whole")
    with pytest.raises(StoppedError):
        train(recipe(data), tmp_path / "stopped", progress=stop)
    assert not (tmp_path / "stopped" / "result.json").exists()
    seen = []
    again = train(recipe(data), tmp_path / "stopped", progress=lambda epoch, figures: seen.append(figures["member"]))
    assert 1 not in seen, "the first member was finished"
    for one, other in zip(whole.model.get_weights(), again.model.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize(
    ("keys", "received"),
    [
        ({"log": ["tensorboard"]}, "ensemble: 3 with log"),
        ({"parts": 2}, "ensemble: 3 with parts"),
        ({"weights": "label_quality"}, "ensemble: 3 with weights"),
        ({"correction": "TauNorm"}, "correction TauNorm"),
        ({"ensemble": 0}, "ensemble"),
    ],
)
def test_what_needs_one_network_is_refused(data, keys, received):
    with pytest.raises(DataError, match=received):
        load_recipe(recipe(data, **keys))


def test_callbacks_and_budgets_are_refused(data, tmp_path):
    with pytest.raises(ArgumentError, match="ensemble: 3 with callbacks"):
        train(recipe(data), tmp_path / "run", callbacks=[keras.callbacks.TerminateOnNaN()])
    with pytest.raises(ArgumentError, match="ensemble: 3 with a budget"):
        tailfit.compare({**recipe(data), "compare": {"seeds": 2, "vary": {"a": {}, "b": {"loss": "Focal"}}}}, budget=1)
