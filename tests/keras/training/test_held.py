"""Samples that stay on the device: the numbers are those of batches that are read as usual."""

import importlib

import keras
import numpy as np
import pytest

import tailfit
from tailfit.data import Arrays, Pad, Ragged

RNG = np.random.default_rng(0)
X, Y = RNG.normal(size=(46, 6)), np.arange(46) % 3  # float64, which JAX narrows
TRUST = RNG.uniform(0.1, 1, len(X))


def network(*hidden):
    inputs = outputs = keras.Input((6,))
    for layer in hidden:
        outputs = layer(outputs)
    return tailfit.Model(inputs, keras.layers.Dense(3)(outputs))


def fitted(make, device, *, together=4, steps=None, callbacks=(), **given):
    keras.utils.set_random_seed(0)
    model = make()
    loss = keras.losses.CategoricalCrossentropy if given.get("one_hot") else keras.losses.SparseCategoricalCrossentropy
    model.compile("adam", loss(from_logits=True), steps_per_execution=together, steps=steps and steps())
    batches = tailfit.Batches(Arrays(X, Y), 4, seed=3, device=device, **given)
    history = model.fit(batches, epochs=3, verbose=0, validation_data=batches, callbacks=list(callbacks))
    return [keras.ops.convert_to_numpy(w.value) for w in model.weights], history.history


def dropout():
    return network(keras.layers.Dense(8, "relu"), keras.layers.Dropout(0.3), keras.layers.BatchNormalization())


def convolution():  # steps that JAX runs one by one
    return network(keras.layers.Reshape((6, 1)), keras.layers.Conv1D(2, 3), keras.layers.Flatten())


CASES = {
    "step by step": (dropout, {"together": 1, "one_hot": True}),
    "one by one": (convolution, {"sampler": tailfit.samplers.ClassBalanced(), "shard": (1, 2)}),
    "several steps a call": (
        dropout,
        {
            "class_weight": tailfit.schedules.Piecewise([[1.0, 1.0, 1.0], [3.0, 1.0, 0.5]], boundaries=[2]),
            "sample_weight": TRUST,
            "steps": lambda: [tailfit.steps.ELR(from_logits=True)],  # which reads values of each sample
        },
    ),
}


@pytest.mark.only_on("jax")
@pytest.mark.parametrize("name", CASES)
def test_the_numbers_are_those_of_usual_batches(name):
    make, given = CASES[name]
    weights, history = fitted(make, False, **given)
    held, held_history = fitted(make, True, **given)
    for one, other in zip(weights, held, strict=True):
        np.testing.assert_allclose(other, one, rtol=1e-5, atol=1e-6)
    for key, values in history.items():
        np.testing.assert_allclose(held_history[key], values, rtol=1e-5)


@pytest.mark.only_on("jax")
def test_batches_are_not_read(monkeypatch):
    sizes = []
    read = Arrays._read
    monkeypatch.setattr(Arrays, "_read", lambda self, indices: sizes.append(len(indices)) or read(self, indices))
    fitted(dropout, True)
    assert sizes == [1, 46] * 2  # of the training and of the validation data: one for its size, then all


@pytest.mark.only_on("jax")
def test_a_full_stack_on_a_gpu_has_a_loop_of_known_length(monkeypatch):
    weights, _ = fitted(dropout, False)
    jax, calls = importlib.import_module("jax"), []
    programs = importlib.import_module("tailfit.training.backends.jax_programs")
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    carried = programs.Program._carried

    def noted(self, run, state, *args):
        calls.append((run is self.run_all, run is self.run_many))
        return carried(self, run, state, *args)

    monkeypatch.setattr(programs.Program, "_carried", noted)
    full, _ = fitted(dropout, False)
    np.testing.assert_allclose(full[0], weights[0], rtol=1e-5, atol=1e-6)
    assert {(True, False), (False, True)} <= set(calls)  # an epoch has two full stacks, and a shorter one


@pytest.mark.only_on("jax")
def test_what_can_not_be_held_is_read_as_usual(monkeypatch):
    held = importlib.import_module("tailfit.training.backends.jax_held")
    arrays, ragged = Arrays(X, Y), Arrays(Ragged([np.ones((n, 2)) for n in (2, 3)]), [0, 1])
    assert held.held(tailfit.Batches(arrays, 4, device=True)) is not None
    assert held.held(tailfit.Batches(arrays, 4)) is None
    assert held.held(tailfit.Batches(arrays, 4, device="auto")) is None  # on a CPU
    assert held.held(tailfit.Batches(arrays, 4, device=True, transform=lambda batch, rng: batch)) is None
    assert held.held(tailfit.Batches(arrays, 4, device=True, on_error="skip")) is None
    assert held.held(tailfit.Batches(ragged, 2, device=True, transform=Pad().transform)) is None
    monkeypatch.setattr(held, "available_memory", lambda: 2 * X.nbytes)
    assert held.held(tailfit.Batches(arrays, 4, device=True)) is None  # records and labels take more than half


def test_an_unknown_device_is_an_error():
    with pytest.raises(tailfit.errors.ArgumentError, match="device='gpu'"):
        tailfit.Batches(Arrays(X, Y), 4, device="gpu")
