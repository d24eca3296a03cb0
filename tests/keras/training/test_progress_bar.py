"""The hook of Keras' progress bar is called for the steps after which it draws, and the bar shows the same."""

import contextlib
import re

import keras
import numpy as np
import pytest
from support.progress import draw_every

import tailfit

X = np.random.default_rng(0).normal(size=(40, 6)).astype("float32")
Y = np.arange(40) % 3


def arrays():
    return {"x": X, "y": Y, "batch_size": 8}


def of_unknown_length():
    return {"x": ((X[k : k + 8], Y[k : k + 8]) for k in range(0, 40, 8))}


def network(kind):
    keras.utils.set_random_seed(0)
    inputs = keras.Input((6,))
    model = kind(inputs, keras.layers.Dense(3)(inputs))
    model.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True), metrics=["accuracy"])
    return model


@contextlib.contextmanager
def hooks_in_order(kind):
    """Let Keras' own model call the hooks of steps one after the other; its threads may end in another order: "4/4"."""
    with pytest.MonkeyPatch.context() as patch:
        if kind is keras.Model:
            patch.setattr("keras.src.backend.IS_THREAD_SAFE", False)
        yield


def last_line(shown):
    """The last line of a bar, without colours, times and the cursor's way back."""
    plain = re.sub(r"\x1b\[[0-9]*m|\x08", "", shown).replace("\r", "\n").strip().splitlines()[-1]
    return re.sub(r"\d+(s|ms|us)(/step)?", "", plain)


@pytest.fixture(params=[0, 1e9], ids=["draws every step", "draws the first step"])
def called(request, monkeypatch):
    """The steps after which Keras calls hooks."""
    draw_every(monkeypatch, request.param)
    steps, own = [], keras.callbacks.CallbackList._on_train_batch_end
    note = lambda self, batch, logs=None: (steps.append(batch), own(self, batch, logs))  # noqa: E731
    monkeypatch.setattr(keras.callbacks.CallbackList, "_on_train_batch_end", note)
    yield steps
    assert steps == (list(range(5)) if request.param == 0 else [0])


@pytest.mark.filterwarnings("ignore:Your input ran out of data")  # the end of the generator
@pytest.mark.parametrize("data", [arrays, of_unknown_length])
def test_a_bar_of_fit_ends_with_the_results_of_the_epoch(data, called, capsys):
    lines = []
    for kind in (keras.Model, tailfit.Model):
        called.clear()
        with hooks_in_order(kind):
            network(kind).fit(**data(), validation_data=(X[:16], Y[:16]), shuffle=False, verbose=1)
        lines.append(last_line(capsys.readouterr().out))
    assert "5/5" in lines[0]
    assert lines[0] == lines[1]


def test_a_bar_of_evaluate_ends_with_its_results(monkeypatch, capsys):
    draw_every(monkeypatch, 1e9)
    lines = []
    for kind in (keras.Model, tailfit.Model):
        with hooks_in_order(kind):
            network(kind).evaluate(X, Y, batch_size=8, verbose=1)
        lines.append(last_line(capsys.readouterr().out))
    assert "5/5" in lines[0]
    assert lines[0] == lines[1]
