"""What Keras' `fit` supports, ours supports: weights after 30 steps equal to the bit, on every backend.

The networks are in batteries/networks.py. Each is trained by built-in `fit`, by the default step of `tailfit.Model`, by
the step a user writes, and by three steps a call; the first three agree to the bit, the last as float32 does.
"""

from typing import Any

import keras
import numpy as np
import pytest
from batteries.networks import CASES
from test_parity import UserStep, assert_same_state, state

import tailfit

# Masks and a reduction that divides by weights: Keras averages batches, ours reports the epoch (traps 14 and 17).
REPORTED_TRULY = {"masks_and_recurrence", "weights_that_divide"}
_theirs: dict[str, Any] = {}


def trained(name: str, cls: type, steps: int = 1) -> tuple[Any, dict[str, list[float]], dict[str, Any]]:
    keras.utils.clear_session(free_memory=False)
    keras.utils.set_random_seed(7)
    model, given = CASES[name](cls)
    model.steps_per_execution = steps
    history = model.fit(**{"epochs": 1, "shuffle": False, "verbose": 0, **given}).history
    return model, history, given


def built_in(name: str) -> Any:
    if name not in _theirs:
        _theirs.clear()  # one case is kept: tests come case by case
        _theirs[name] = trained(name, keras.Model)
    return _theirs[name]


@pytest.fixture(scope="module", autouse=True)
def forget():
    yield
    _theirs.clear()


def assert_same_logs(name: str, ours: Any, theirs: Any, **tolerance: float) -> None:
    assert ours.keys() == theirs.keys()
    for key, values in theirs.items():
        if name not in REPORTED_TRULY or not key.endswith("loss"):
            np.testing.assert_allclose(ours[key], values, err_msg=key, **{"rtol": 1e-6, **tolerance})


@pytest.mark.parametrize("form", ["default", "user's", "fused"])
@pytest.mark.parametrize("name", CASES)
def test_weights_after_30_steps(name, form):
    theirs, their_history, _ = built_in(name)
    ours, our_history, _ = trained(name, UserStep if form == "user's" else tailfit.Model, 3 if form == "fused" else 1)
    if form != "fused":
        assert_same_state(ours, theirs)
        assert_same_logs(name, our_history, their_history)
        return
    half = {"rtol": 2e-2, "atol": 2e-3} if "float16" in name else {"rtol": 2e-4, "atol": 2e-5}
    for (path, value), expected in zip(state(ours).items(), state(theirs).values(), strict=True):
        np.testing.assert_allclose(value, expected, err_msg=path, **half)
    assert_same_logs(name, our_history, their_history, **half)


@pytest.mark.parametrize("name", [name for name in CASES if not name.startswith("optimizer_")])
def test_evaluate_predict_and_batches(name, tmp_path):
    """A trained model of ours does as Keras' own with the same weights, and is the same after it was on disk."""
    (theirs, _, given), (ours, _, _) = built_in(name), trained(name, tailfit.Model)
    size = given["batch_size"]
    data = {key: given[key] for key in ("x", "y", "sample_weight") if key in given}
    evaluated = [model.evaluate(**data, batch_size=size, verbose=0, return_dict=True) for model in (ours, theirs)]
    assert_same_logs(name, *({key: [value] for key, value in logs.items()} for logs in evaluated))
    predicted = [model.predict(given["x"], batch_size=size, verbose=0) for model in (ours, theirs)]
    assert_same_trees(*predicted)

    first = keras.tree.map_structure(lambda part: part[:size], data)
    for name_of in ("train_on_batch", "test_on_batch"):
        logs = [getattr(model, name_of)(**first, return_dict=True) for model in (ours, theirs)]
        assert_same_logs(name, *logs)
    assert_same_trees(*(model.predict_on_batch(first["x"]) for model in (ours, theirs)))
    assert_same_state(ours, theirs)

    if name == "a_subclass_that_fit_builds":  # of a class that is gone with its function
        ours.save_weights(tmp_path / "model.weights.h5")
        again, _, _ = trained(name, tailfit.Model)
        again.load_weights(tmp_path / "model.weights.h5")
    else:
        ours.save(tmp_path / "model.keras")
        again = keras.saving.load_model(tmp_path / "model.keras")
        assert isinstance(again, tailfit.Model)
        assert_same_trees(list(state(again).values()), list(state(ours).values()))
    assert_same_trees(*(model.predict_on_batch(first["x"]) for model in (again, ours)))


def assert_same_trees(ours: Any, theirs: Any) -> None:
    keras.tree.assert_same_structure(ours, theirs)
    for one, other in zip(keras.tree.flatten(ours), keras.tree.flatten(theirs), strict=True):
        np.testing.assert_array_equal(keras.ops.convert_to_numpy(one), keras.ops.convert_to_numpy(other))
