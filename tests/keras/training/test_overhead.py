"""What a step costs beside one of built-in fit, without a clock: the Python functions that are called for it."""

import cProfile
import pstats
from pathlib import Path

import keras
import numpy as np
import pytest

import tailfit

X = np.random.default_rng(0).normal(size=(640, 6)).astype("float32")
Y = np.arange(640) % 3
_WAITING = {"threading.py", "_base.py", "queue.py"}  # how often is asked whether something is done is up to chance


def called(model, samples):
    """How many Python functions a fit of one epoch calls."""
    profile = cProfile.Profile()
    profile.runcall(model.fit, X[:samples], Y[:samples], batch_size=8, verbose=0)
    entries = pstats.Stats(profile).stats.items()
    return sum(entry[0] for (file, _, _), entry in entries if file != "~" and Path(file).name not in _WAITING)


def calls_a_step(kind, metrics):
    keras.utils.set_random_seed(0)
    inputs = keras.Input((6,))
    hidden = keras.layers.Dropout(0.1)(keras.layers.Dense(5, activation="relu")(inputs))
    model = kind(inputs, keras.layers.Dense(3)(hidden))
    model.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True), metrics=metrics)
    model.fit(X, Y, batch_size=8, verbose=0)
    return (called(model, 640) - called(model, 320)) / 40


@pytest.mark.parametrize("metrics", [[], ["accuracy"]], ids=["loss only", "accuracy"])
def test_a_step_calls_hardly_more_functions_than_built_in_fits(metrics):
    built_in, ours = (calls_a_step(kind, metrics) for kind in (keras.Model, tailfit.Model))
    # Where Keras calls thousands a step, as on torch, what is more is to stay within the bound on time; where a step is
    # compiled it is a handful of calls.
    assert ours <= max(1.03 * built_in, built_in + 6)


@pytest.mark.only_on("jax")
def test_the_state_stays_in_the_chain_of_steps_within_an_epoch(monkeypatch):
    """Keras' `Callback.model` ends the chain, and the next step then copies all variables anew."""
    ended = []
    own = tailfit.Model.jax_state_sync
    monkeypatch.setattr(tailfit.Model, "jax_state_sync", lambda self: (ended.append(0), own(self)))
    inputs = keras.Input((6,))
    model = tailfit.Model(inputs, keras.layers.Dense(3)(inputs))
    model.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    counts = []
    for samples in (64, 640):
        ended.clear()
        model.fit(X[:samples], Y[:samples], batch_size=8, validation_data=(X[:samples], Y[:samples]), verbose=0)
        counts.append(len(ended))
    assert 0 < counts[0] == counts[1]
