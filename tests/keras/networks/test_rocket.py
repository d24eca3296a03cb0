"""MiniRocket against its definition in NumPy, written as loops; the authors' code gave the same features.

With their commit 0b1c245 and the same channels and biases, 99.99 % of 223,000 features are equal, and the others differ
by one step, where a response equals a bias up to rounding.
"""

from itertools import combinations

import keras
import numpy as np
import pytest
from keras import ops

import tailfit
from tailfit.errors import ArgumentError
from tailfit.layers import MiniRocket
from tailfit.layers.rocket import channels_of, dilations_of
from tailfit.networks import minirocket

RNG = np.random.default_rng(0)
X = RNG.normal(size=(5, 40, 3)).astype("float32").cumsum(axis=1)


def as_numpy(value):
    return np.array(ops.convert_to_numpy(value))


def response(record, channels, positions, dilation):
    """The response at each step of one kernel with the weights 2 at three positions, and -1 at the others."""
    weights = [2.0 if tap in positions else -1.0 for tap in range(9)]
    found = np.zeros(len(record))
    for step in range(len(record)):
        for tap, weight in enumerate(weights):
            at = step + (tap - 4) * dilation
            if 0 <= at < len(record):
                found[step] += weight * record[at, channels].sum()
    return found


def test_features_are_shares_of_the_steps_above_a_bias():
    layer = MiniRocket(84 * 5)
    layer.adapt(X)
    ours, biases = as_numpy(layer.features(X)), as_numpy(layer.biases)
    dilations, counts = dilations_of(40, 84 * 5, 32)
    assert dilations == [1, 2, 3, 4]
    used = channels_of(3, 84 * 4, 0).astype(bool)
    feature, different = 0, 0
    for number, (dilation, count) in enumerate(zip(dilations, counts, strict=True)):
        for kernel, positions in enumerate(combinations(range(9), 3)):
            channels = used[number * 84 + kernel]
            for _ in range(count):
                for row in (0, 4):
                    values = response(X[row], channels, positions, dilation)
                    if (number + kernel) % 2:  # every second kernel: without the padded steps
                        values = values[4 * dilation : -4 * dilation]
                    share = (values > biases[feature]).mean()
                    different += abs(share - ours[row, feature]) > 1e-5
                    assert abs(share - ours[row, feature]) <= 1.001 / len(values)
                feature += 1
    assert feature == ours.shape[1] == 420
    assert different < 5  # of 840: a response may equal a bias up to rounding


def test_biases_are_quantiles_of_the_responses_to_a_record():
    layer = MiniRocket(84 * 5)
    layer.adapt(X[:1])
    biases, used = as_numpy(layer.biases), channels_of(3, 84 * 4, 0).astype(bool)
    first = response(X[0], used[0], (0, 1, 2), 1)
    golden = (1 + 5**0.5) / 2
    counts = dilations_of(40, 84 * 5, 32)[1]
    want = np.quantile(first, [golden * place % 1 for place in range(1, counts[0] + 1)])
    np.testing.assert_allclose(biases[: counts[0]], want, rtol=1e-4)
    last = np.quantile(response(X[0], used[-1], (6, 7, 8), 4), golden * 420 % 1)
    np.testing.assert_allclose(biases[-1], last, rtol=1e-4)


def test_features_are_standardised_and_nothing_is_trained():
    layer = MiniRocket(168)
    assert np.isnan(as_numpy(layer(X))).all(), "without records the outputs are no numbers"
    layer.adapt(X)
    features = as_numpy(layer(X))
    assert np.abs(features.mean(axis=0)).max() < 1e-4
    assert features.std(axis=0).max() < 1.001
    assert not layer.trainable_variables


def test_it_learns_is_saved_and_classifies():
    y = np.arange(60) % 2
    x = RNG.normal(0, 0.3, (60, 24, 2)).astype("float32")
    x[:, 10:13, 1] += np.where(y, 2.0, -2.0)[:, None]
    keras.utils.set_random_seed(1)
    model = minirocket(
        (24, 2), 2, num_features=420, records=x, normalize=tailfit.data.Normalize.fit(tailfit.data.Arrays(x))
    )
    model.compile(keras.optimizers.Adam(0.01), tailfit.losses.CrossEntropy(from_logits=True))
    model.fit(tailfit.Batches(tailfit.data.Arrays(x[:40], y[:40]), 20, seed=0), epochs=10, verbose=0)
    assert (model.predict(x[40:], verbose=0).argmax(axis=1) == y[40:]).mean() > 0.9


def test_a_saved_network_predicts_the_same(tmp_path):
    model = minirocket((40, 3), 2, num_features=168, records=X)
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_allclose(again.predict(X, verbose=0), model.predict(X, verbose=0), rtol=1e-6)


@pytest.mark.mostly_on("torch")
def test_a_recipe_adapts_it_to_the_training_part(tmp_path):
    y = np.arange(80) % 2
    x = RNG.normal(0, 0.3, (80, 24, 2)).astype("float32")
    x[:, 10:13, 1] += np.where(y, 2.0, -2.0)[:, None]
    tailfit.data.save_npy_folder(tmp_path / "pumps", x, np.array(["ok", "leak"])[y])
    network = {"name": "minirocket", "num_features": 420}
    recipe = {"data": {"path": str(tmp_path / "pumps")}, "network": network, "epochs": 25, "batch_size": 16}
    run = tailfit.recipes.train(recipe, tmp_path / "run")
    assert run.evaluation.accuracy > 0.9
    assert tailfit.recipes.evaluate_run(tmp_path / "run").accuracy == run.evaluation.accuracy


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: minirocket((8, 1), 2), r"records of shape \(8, 1\) for MiniRocket"),
        (lambda: minirocket((30,), 2), "for minirocket"),
        (lambda: MiniRocket(83), "num_features=83"),
    ],
)
def test_bad_options_are_named(build, message):
    with pytest.raises(ArgumentError, match=message):
        build()
