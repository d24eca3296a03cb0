"""Padded steps: a padded record gets the scores of the record without padding, in prediction and in training."""

import re
from typing import Any

import keras
import numpy as np
import pytest

import tailfit
from tailfit.errors import ArgumentError
from tailfit.networks import cnn, fcn, inception_time, lite, resnet, rnn
from tailfit.recipes.serving import serving_model
from tailfit.training.generators import seeded

NETWORKS: dict[str, Any] = {
    "cnn": (cnn, {"filters": [4, 4], "kernel_size": 4}),
    "fcn": (fcn, {"filters": [4, 4], "kernel_sizes": [4, 3]}),
    "resnet": (resnet, {"filters": [4, 4], "kernel_sizes": [4, 3]}),
    "inception_time": (inception_time, {"depth": 3, "width": 3, "kernel_size": 9}),
    "lite": (lite, {"width": 3, "kernel_size": 9}),
    "rnn": (rnn, {"units": [3, 3]}),
}
RNG = np.random.default_rng(0)
X = RNG.normal(2, 3, (6, 13, 2)).astype("float32")
NORMALIZE = tailfit.data.Normalize.fit(tailfit.data.Arrays(X))
PADDING = -99.0


def padded(x: Any, steps: int) -> Any:
    return np.pad(x, ((0, 0), (0, steps - x.shape[1]), (0, 0)), constant_values=PADDING)


def built(name: str, steps: int | None, **options: Any) -> Any:
    network, own = NETWORKS[name]
    with seeded(3):
        model = network((steps, 2), 3, normalize=NORMALIZE, **own, **options)
    for layer in model.layers:  # as after a training
        if isinstance(layer, keras.layers.BatchNormalization):
            size = layer.moving_mean.shape[0]
            layer.moving_mean.assign(np.linspace(-1, 1, size))
            layer.beta.assign(np.linspace(0.5, -0.5, size))
    return model


def layers_of(model: Any) -> list[Any]:
    """The layers with weights in the order in which they were made; Keras sorts them by depth."""
    kinds = [type(layer).__name__ for layer in model.layers]
    numbers = [int((re.findall(r"\d+$", layer.name) or [0])[0]) for layer in model.layers]
    order = np.lexsort([numbers, kinds])
    return [model.layers[place] for place in order if model.layers[place].weights]


def weights_of(model: Any) -> list[Any]:
    return [array for layer in layers_of(model) for array in layer.get_weights()]


def copy_weights(model: Any, other: Any) -> None:
    for layer, own in zip(layers_of(model), layers_of(other), strict=True):
        layer.set_weights(own.get_weights())


@pytest.mark.parametrize("name", NETWORKS)
def test_padding_changes_no_score(name):
    plain, aware = built(name, 13), built(name, 20, padding=PADDING)
    copy_weights(aware, plain)
    expected = plain.predict(X, verbose=0)
    np.testing.assert_allclose(aware.predict(padded(X, 20), verbose=0), expected, rtol=1e-4, atol=1e-5)
    unaware = built(name, 20)
    copy_weights(unaware, plain)
    assert np.abs(unaware.predict(padded(X, 20), verbose=0) - expected).max() > 1e-2
    served = serving_model(aware)
    np.testing.assert_allclose(served.predict(padded(X, 20), verbose=0), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", ["cnn", "resnet", "inception_time"])
def test_padding_changes_no_training(name, tmp_path):
    """Batch statistics and gradients, with ragged records padded by batch."""
    y = np.arange(6) % 3
    trained = []
    for steps, options in ((13, {}), (None, {"padding": PADDING})):
        model = built(name, steps, **options)
        if trained:
            copy_weights(model, trained[0])
        trained.append(model)
    for model, x in zip(trained, (X, padded(X, 16)), strict=True):
        model.compile(keras.optimizers.SGD(0.1), tailfit.losses.CrossEntropy(from_logits=True))
        model.fit(x, y, epochs=2, batch_size=6, shuffle=False, verbose=0)
    for ours, theirs in zip(weights_of(trained[1]), weights_of(trained[0]), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=2e-3, atol=2e-4)
    ragged = tailfit.data.Arrays(
        tailfit.data.Ragged([record[:steps] for record, steps in zip(X, (13, 9, 5, 8, 4, 6), strict=True)])
    )
    batches = tailfit.Batches(ragged, 3, transform=tailfit.data.Pad(value=PADDING).transform)
    scores = trained[1].predict(batches, verbose=0)
    alone = trained[1].predict(X[3:4, :8], verbose=0)
    np.testing.assert_allclose(scores[3:4], alone, rtol=1e-4, atol=1e-5)
    trained[1].save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_allclose(loaded.predict(X[3:4, :8], verbose=0), alone, rtol=1e-5, atol=1e-6)


def test_a_record_of_padding_alone_gives_finite_scores():
    model = built("cnn", 8, padding=0.0)
    assert np.isfinite(model.predict(np.zeros((1, 8, 2)), verbose=0)).all()


def test_padding_that_can_not_be_told_is_refused():
    with pytest.raises(ArgumentError, match="padding=nan"):
        fcn((8, 2), 3, padding=float("nan"))
    with pytest.raises(ArgumentError, match=r"padding=0.0 for records of shape \(8, 8, 1\)"):
        cnn((8, 8, 1), 3, padding=0.0)
