"""What Keras' `fit` supports, ours supports: weights after 30 steps equal to the bit, on every backend.

The networks are in support/networks.py. Each is trained by built-in `fit`, by the default step of `tailfit.Model`, by
the step a user writes, and by three steps a call; the first three agree to the bit, the last as float32 does.
"""

from typing import Any

import keras
import numpy as np
import pytest
from support.networks import CASES
from support.parity import UserStep, assert_same_state, state

import tailfit

pytestmark = pytest.mark.as_compiled

# What Keras' own fit can't do on JAX, seen with 3.15.1; there our own uncompiled steps are what ours is compared with.
NOT_BUILT_IN = {
    "a_state_kept_between_batches": "the state stays zero",
    "losses_that_the_network_adds": "a metric inside a layer has lost its values",
}
# Losses of which Keras averages batches and ours reports the epoch (traps 14 and 17); masked metrics, on JAX.
REPORTED_TRULY = {"masks_and_recurrence", "weights_that_divide"}
OPTIMIZERS = [name for name in CASES if name.startswith("optimizer_")]
NETWORKS = [name for name in CASES if name not in OPTIMIZERS]

# With several steps a call, too; the others are slow tests, for the compiler's sake.
FUSED_QUICKLY = {
    "penalties_normalisation_and_dropout",
    "frozen_layers",
    "a_state_kept_between_batches",
    "a_subclass_that_fit_builds",
    "nested_inputs_and_outputs",
    "losses_that_the_network_adds",
    "weights_that_divide",
    "float16_with_loss_scaling",
    "float16_accumulated_clipped_and_averaged",
    "rates_that_callbacks_change",
}

Trained = tuple[Any, dict[str, list[float]], dict[str, Any]]
_theirs: dict[str, Trained] = {}


def trained(name: str, cls: type, steps: int = 1, eager: bool = False) -> Trained:
    keras.utils.clear_session(free_memory=False)
    keras.utils.set_random_seed(7)
    model, given = CASES[name](cls)
    model.steps_per_execution, model.run_eagerly = steps, eager
    history = model.fit(**{"epochs": 1, "shuffle": False, "verbose": 0, **given}).history
    return model, history, given


def built_in(name: str) -> Trained:
    if name not in _theirs:
        _theirs.clear()  # one case is kept: tests come case by case
        own = keras.backend.backend() == "jax" and name in NOT_BUILT_IN
        _theirs[name] = trained(name, tailfit.Model if own else keras.Model, eager=own)
    return _theirs[name]


@pytest.fixture(scope="module", autouse=True)
def forget():
    yield
    _theirs.clear()


def assert_same_logs(name: str, ours: Any, theirs: Any, rtol: float = 1e-6) -> None:
    assert ours.keys() == theirs.keys()
    # The loss of one of several outputs: on TensorFlow Keras counts a short batch like a whole one.
    of_output = "_loss" if keras.backend.backend() == "tensorflow" else ()
    for key, values in theirs.items():
        truer = (
            key.endswith(("loss", "entropy"))
            if name in REPORTED_TRULY
            else key.removeprefix("val_").endswith(of_output)
        )
        if not truer:
            np.testing.assert_allclose(ours[key], values, err_msg=key, rtol=rtol)


def assert_close(name: str, ours: Any, theirs: Any) -> None:
    half = {"rtol": 2e-2, "atol": 2e-3} if "float16" in name else {"rtol": 2e-4, "atol": 2e-5}
    for (path, value), expected in zip(state(ours).items(), state(theirs).values(), strict=True):
        np.testing.assert_allclose(value, expected, err_msg=path, **half)


def assert_same_trees(ours: Any, theirs: Any) -> None:
    keras.tree.assert_same_structure(ours, theirs)
    for one, other in zip(keras.tree.flatten(ours), keras.tree.flatten(theirs), strict=True):
        np.testing.assert_array_equal(keras.ops.convert_to_numpy(one), keras.ops.convert_to_numpy(other))


@pytest.mark.parametrize("name", NETWORKS)
def test_networks(name, tmp_path):
    """Trained, evaluated, fed by hand, saved and loaded: as Keras' own."""
    (theirs, their_history, given), (ours, our_history, _) = built_in(name), trained(name, tailfit.Model)
    if keras.backend.backend() == "jax" and name in NOT_BUILT_IN:
        assert_close(name, ours, theirs)
    else:
        assert_same_state(ours, theirs)
        assert_same_logs(name, our_history, their_history)
        if keras.backend.backend() != "jax" or "averaged" not in name:
            assert_does_the_same(name, ours, theirs, given)
        # else: after weights were overwritten by their averages, Keras gives an array away twice.
    assert_survives_the_disk(name, ours, given, tmp_path)


def assert_does_the_same(name: str, ours: Any, theirs: Any, given: dict[str, Any]) -> None:
    size = given["batch_size"]
    data = {key: given[key] for key in ("x", "y", "sample_weight") if key in given}
    evaluated = [model.evaluate(**data, batch_size=size, verbose=0, return_dict=True) for model in (ours, theirs)]
    assert_same_logs(name, *({key: [value] for key, value in logs.items()} for logs in evaluated))
    assert_same_trees(*(model.predict(given["x"], batch_size=size, verbose=0) for model in (ours, theirs)))
    first = keras.tree.map_structure(lambda part: part[:size], data)
    for method in ("train_on_batch", "test_on_batch"):
        logs = []
        for model in (ours, theirs):
            keras.utils.set_random_seed(8)  # on torch Dropout draws from a generator that all models share
            logs.append(getattr(model, method)(**first, return_dict=True))
        assert_same_logs(name, *logs)
    assert_same_state(ours, theirs)
    _theirs.clear()  # it was trained further


def assert_survives_the_disk(name: str, ours: Any, given: dict[str, Any], path: Any) -> None:
    batch = keras.tree.map_structure(lambda part: part[: given["batch_size"]], given["x"])
    expected = ours.predict_on_batch(batch)
    if name == "a_subclass_that_fit_builds":  # of a class that is gone with its function
        ours.save_weights(path / "model.weights.h5")
        again, _, _ = trained(name, tailfit.Model)
        again.load_weights(path / "model.weights.h5")
    else:
        ours.save(path / "model.keras")
        again = keras.saving.load_model(path / "model.keras")
        assert isinstance(again, tailfit.Model)
        if name != "a_low_rank_adapter":  # Keras merges it into the kernel
            assert_same_trees(again.get_weights(), ours.get_weights())
            assert_same_trees(*([v.value for v in model.optimizer.variables] for model in (again, ours)))
    if name != "a_state_kept_between_batches":  # it is kept in the one model, and new in the other
        for one, other in zip(*map(keras.tree.flatten, (again.predict_on_batch(batch), expected)), strict=True):
            np.testing.assert_allclose(one, other, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[] if name in FUSED_QUICKLY else pytest.mark.slow) for name in NETWORKS]
)
def test_networks_with_three_steps_a_call(name):
    theirs, their_history, _ = built_in(name)
    ours, our_history, _ = trained(name, tailfit.Model, steps=3)
    assert_close(name, ours, theirs)
    assert_same_logs(name, our_history, their_history, rtol=2e-2 if "float16" in name else 2e-4)


@pytest.mark.slow
@pytest.mark.parametrize("name", CASES)
def test_the_users_step(name):
    ours, our_history, _ = trained(name, UserStep)
    theirs, their_history, _ = built_in(name)
    if keras.backend.backend() == "jax" and name in NOT_BUILT_IN:
        assert_close(name, ours, theirs)
    else:
        assert_same_state(ours, theirs)
        assert_same_logs(name, our_history, their_history)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_optimizers(name):
    (theirs, their_history, _), (ours, our_history, _) = built_in(name), trained(name, tailfit.Model)
    assert_same_state(ours, theirs)
    assert_same_logs(name, our_history, their_history)
