"""`predict` and `evaluate` of a `Batches`: each sample once, in the source's order, unless a sampler was passed."""

import warnings

import keras
import numpy as np
import pytest

import tailfit
from tailfit.data import Arrays
from tailfit.errors import ArgumentError
from tailfit.samplers import ClassBalanced, Sequential

N = 22
X = np.eye(2, dtype="float32")[np.arange(N) % 4 // 3] * np.arange(1, N + 1, dtype="float32")[:, None]
Y = np.arange(N) % 4 // 3


def batches(**given):
    return tailfit.Batches(Arrays(X, Y), 4, **given)


@pytest.fixture(params=[tailfit.Model, keras.Model], ids=["tailfit", "keras"])
def perfect(request):
    """A model that returns its input, from which the class is known."""
    inputs = keras.Input((2,))
    model = request.param(inputs, keras.layers.Dense(2, kernel_initializer="identity")(inputs))
    model.compile(keras.optimizers.SGD(0.0), loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    return model


def test_row_i_is_sample_i(perfect):
    data = batches(seed=3, class_weight="balanced")
    trained_on = [data.indices(1, step).tolist() for step in range(len(data))]
    for _ in range(2):
        scores = perfect.predict(data, verbose=0)
        np.testing.assert_array_equal(scores, X)
    assert tailfit.evaluate(data.labels, scores).accuracy == 1.0
    assert [data.indices(1, step).tolist() for step in range(len(data))] == trained_on


def test_evaluate_reads_every_sample_once(perfect):
    weights = np.linspace(0, 2, N)
    want = perfect.evaluate(X, Y, sample_weight=weights, verbose=0)
    assert perfect.evaluate(batches(sample_weight=weights), verbose=0) == pytest.approx(want, rel=1e-5)


def test_a_given_sampler_is_used_and_warned_about_once(perfect):
    data = batches(sampler=ClassBalanced())
    with pytest.warns(
        UserWarning, match=r"order of ClassBalanced.*The samples of a step are batches\.indices\(0, step\)"
    ):
        scores = perfect.predict(data, verbose=0)
    np.testing.assert_array_equal(scores, X[np.concatenate([data.indices(0, step) for step in range(len(data))])])
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        perfect.predict(data, verbose=0)
        perfect.predict(batches(sampler=Sequential()), verbose=0)


def test_rows_are_not_dropped(perfect):
    with pytest.raises(ArgumentError, match=r"drop the last 2 of 22 samples.*drop_remainder=False"):
        perfect.predict(batches(drop_remainder=True), verbose=0)
    whole = tailfit.Batches(Arrays(X[:20], Y[:20]), 4, drop_remainder=True)
    np.testing.assert_array_equal(perfect.predict(whole, verbose=0), X[:20])


def test_a_shard_is_warned_about(perfect):
    data = batches(shard=(1, 2))
    with pytest.warns(UserWarning, match=r"shard 1 of 2.*batches\.in_source_order\(\)\.indices\(0, step\)"):
        scores = perfect.predict(data, verbose=0)
    ordered = data.in_source_order()
    np.testing.assert_array_equal(scores, X[np.concatenate([ordered.indices(0, step) for step in range(len(data))])])


def test_custom_loops_and_fit_follow_the_sampler(perfect):
    data = batches(seed=1)
    first = [x for x, *_ in data]
    np.testing.assert_array_equal(np.concatenate(first), X[np.concatenate([data.indices(0, s) for s in range(6)])])
    assert not np.array_equal(np.concatenate(first), X)


def test_predict_within_a_fit(perfect):
    """Callbacks may predict during a fit."""
    data, scores = batches(), []
    back = keras.callbacks.LambdaCallback(on_epoch_end=lambda *_: scores.append(perfect.predict(data, verbose=0)))
    perfect.fit(batches(), epochs=1, shuffle=False, callbacks=[back], verbose=0)
    np.testing.assert_array_equal(scores[0], X)
