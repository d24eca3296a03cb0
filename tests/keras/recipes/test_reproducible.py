"""The files of a run depend on its recipe and its data, and on nothing that the process has done before."""

import random

import keras
import numpy as np
import pytest

import tailfit
from tailfit import keras_private as private
from tailfit.recipes import compare
from tailfit.training import generators

RECIPE = {
    "data": {"path": "pumps", "split": {"train": 0.5, "validation": 0.25, "test": 0.25}},
    "network": {"name": "mlp", "units": [4], "dropout": 0.3},
    "steps": ["Mixup"],
    "early_stopping": {"monitor": "val_loss"},
    "epochs": 1,
    "batch_size": 16,
}


def drawn():
    """A number of each global generator, which are left as they were."""
    private.known_global_seed(made=True)
    before = generators.captured()
    layer = keras.layers.Dropout(0.5)  # on torch, of torch's own generator
    noise = keras.ops.convert_to_numpy(layer(np.ones((1, 20), "float32"), training=True)).tolist()
    unseeded = keras.ops.convert_to_numpy(keras.random.normal((2,))).tolist()
    numbers = [random.random(), np.random.uniform(), noise, unseeded]  # noqa: NPY002
    generators.restore_states(before)
    return numbers


def files(folder):
    found = [path for path in sorted(folder.rglob("*")) if path.is_file() and path.name != "lock"]
    return {str(path.relative_to(folder)): path.read_bytes() for path in found}


def test_files_are_the_same_to_the_byte_whatever_the_process_did_before(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    y = np.arange(60) % 3 % 2
    x = rng.normal(2.0 * y[:, None], size=(60, 3)).astype("float32")
    tailfit.data.save_npy_folder("pumps", x, np.array(["ok", "leak"])[y])
    known = drawn()
    vary = {"loss": ["CrossEntropy", "Focal"]}
    compare(RECIPE, vary, seeds=2, directory="first")
    assert drawn() == known  # the caller's own generators are as they were
    random.random(), np.random.uniform(), keras.random.normal((3,))  # noqa: NPY002
    keras.layers.Dropout(0.5)(np.ones((1, 20), "float32"), training=True)
    for _ in range(3):
        keras.layers.Dense(2), keras.Variable(1.0), keras.metrics.Mean(), keras.random.SeedGenerator()
    compare(RECIPE, vary, seeds=2, directory="second")
    first, second = files(tmp_path / "first"), files(tmp_path / "second")
    assert first.keys() == second.keys()
    assert [name for name in first if first[name] != second[name]] == []
    assert {"report.html", "comparison.json"} <= first.keys()


@pytest.mark.parametrize("seed", [5, 2**32 + 1])
def test_generators_are_seeded_within_and_as_before_after(seed):
    before = drawn()
    with generators.drawn_from(seed):
        first = drawn()
        assert all(one != other for one, other in zip(first, before, strict=True))
        with generators.seeded(seed + 1):
            assert drawn() != first
        assert drawn() == first
    assert drawn() == before
    with generators.drawn_from(seed):
        assert drawn() == first
