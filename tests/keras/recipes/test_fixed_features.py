"""Fixed features of minirocket are computed once for a training, which ends as one on records."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.pumps import saved_pumps

import tailfit
from tailfit.recipes import fixed_features, load_recipe, train
from tailfit.recipes.fixed_features import prepared
from tailfit.recipes.objects import training_batches
from tailfit.recipes.parts import open_parts


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    return saved_pumps(tmp_path_factory.mktemp("features"), samples=60, every=4, shape=(12, 2))


def recipe(data: Path, **keys: Any) -> dict[str, Any]:
    network = {"name": "minirocket", "num_features": 168, "dropout": 0.2}
    # ELR needs the positions of samples; class weights and the sampler depend on labels.
    steps = [{"name": "ELR", "strength": 1.0}]
    return {
        "data": {"path": str(data)},
        "network": network,
        "epochs": 3,
        "batch_size": 8,
        "sampler": "Bootstrap",
        "class_weight": "balanced",
        "steps": steps,
        **keys,
    }


def test_the_training_ends_as_one_on_records(data, tmp_path, monkeypatch):
    once = train(recipe(data), tmp_path / "once")
    monkeypatch.setattr(fixed_features, "MOST_BYTES", 0)
    each_epoch = train(recipe(data), tmp_path / "each epoch")
    for ours, theirs in zip(once.model.get_weights(), each_epoch.model.get_weights(), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-5)
    for name, values in once.history.items():
        np.testing.assert_allclose(values, each_epoch.history[name], rtol=1e-3, atol=1e-5, err_msg=name)
    again = tailfit.recipes.evaluate_run(tmp_path / "once")
    assert again.accuracy == once.evaluation.accuracy


class StoppedError(Exception):
    pass


def test_an_interrupted_run_continues_to_the_bit(data, tmp_path):
    def stop(epoch, figures):
        if epoch == 2:
            raise StoppedError

    whole = train(recipe(data), tmp_path / "whole")
    with pytest.raises(StoppedError):
        train(recipe(data), tmp_path / "interrupted", progress=stop)
    resumed = train(recipe(data), tmp_path / "interrupted")
    assert resumed.history == whole.history
    for ours, theirs in zip(resumed.model.get_weights(), whole.model.get_weights(), strict=True):
        np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize(
    ("keys", "once"),
    [
        ({}, True),
        ({"steps": ["SAM"]}, True),
        ({"steps": ["Mixup"]}, False),
        ({"steps": [{"name": "BCL", "units": 2}]}, False),
        ({"transform": "Jitter"}, False),
        ({"network": "fcn", "steps": []}, False),
    ],
)
def test_features_are_computed_once_if_records_stay_the_same(data, keys, once):
    loaded = load_recipe(recipe(data, **keys))
    parts = open_parts(loaded)
    batches = training_batches(loaded, parts)
    made = prepared(loaded, parts, batches, None, features_once=True)
    assert (made.fitted is not made.model) == once
    assert made.fitted_batches[0][0].shape == ((8, 168) if once else (8, 12, 2))
    assert prepared(loaded, parts, batches, None, features_once=False).fitted_batches is batches
