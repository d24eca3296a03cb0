"""Second stages: only the last layer changes, on class-balanced batches, in one call."""

import keras
import numpy as np
import pytest
from keras import ops

import tailfit
from tailfit.errors import ArgumentError


def skewed(n=400, seed=0):
    """Two Gaussians at +-1 in both axes, 5 % of the second."""
    rng = np.random.default_rng(seed)
    y = (np.arange(n) % 20 == 0).astype(int)
    return (rng.normal(size=(n, 2)) + np.where(y, 1.0, -1.0)[:, None]).astype("float32"), y


def trained(cls=tailfit.Model, activation=None, epochs=15):
    x, y = skewed()
    inputs = keras.Input((2,))
    hidden = keras.layers.Dense(8, activation="tanh", name="features")(inputs)
    hidden = keras.layers.BatchNormalization(name="norm")(hidden)
    outputs = keras.layers.Dense(2, name="head")(hidden)
    if activation:
        outputs = keras.layers.Activation(activation)(outputs)
    model = cls(inputs, outputs)
    model.compile(keras.optimizers.Adam(0.01), tailfit.losses.CrossEntropy(from_logits=activation is None))
    model.fit(x, y, epochs=epochs, verbose=0)
    return model


def balanced(sampler=None):
    x, y = skewed()
    return tailfit.Batches(tailfit.data.Arrays(x, y), 32, sampler or tailfit.samplers.ClassBalanced(), seed=3)


def weights_of(model, name):
    return [np.array(value) for value in model.get_layer(name).get_weights()]


def balanced_accuracy(model):
    x, y = skewed(4000, seed=9)
    called = model.predict(x, verbose=0).argmax(1)
    return np.mean([(called[y == c] == c).mean() for c in (0, 1)])


@pytest.mark.parametrize("activation", [None, "softmax"])
def test_retraining_changes_the_head_only_and_helps(activation):
    model = trained(activation=activation)
    before = balanced_accuracy(model)
    kept = weights_of(model, "features"), weights_of(model, "norm"), weights_of(model, "head")
    history = tailfit.stages.retrain_classifier(
        model, balanced(), epochs=8, optimizer=keras.optimizers.Adam(0.02), verbose=0
    )
    assert len(history.history["loss"]) == 8
    for old, name in zip(kept, ("features", "norm"), strict=False):
        for one, other in zip(old, weights_of(model, name), strict=True):
            np.testing.assert_array_equal(one, other)
    assert np.abs(kept[2][0] - weights_of(model, "head")[0]).max() > 0.01
    assert all(layer.trainable for layer in model.layers)
    assert balanced_accuracy(model) > before + 0.05


def test_retraining_begins_anew():
    model = trained()
    initial = model.get_layer("head").kernel_initializer((8, 2))
    tailfit.stages.retrain_classifier(model, balanced(), epochs=1, optimizer=keras.optimizers.SGD(0.0), verbose=0)
    kernel, bias = weights_of(model, "head")
    np.testing.assert_allclose(kernel, ops.convert_to_numpy(initial), rtol=1e-6)
    np.testing.assert_array_equal(bias, np.zeros(2))


def test_trainable_flags_survive_an_error():
    model = trained(epochs=1)
    model.get_layer("features").trainable = False

    class Boom(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            raise RuntimeError("boom")

    with pytest.raises(RuntimeError, match="boom"):
        tailfit.stages.retrain_classifier(model, balanced(), epochs=1, callbacks=[Boom()], verbose=0)
    assert [model.get_layer(name).trainable for name in ("features", "norm", "head")] == [False, True, True]


def test_scales_are_what_is_learned():
    model = trained()
    before = balanced_accuracy(model)
    kept = weights_of(model, "features"), weights_of(model, "norm"), weights_of(model, "head")
    history = tailfit.stages.learn_scales(model, balanced(), epochs=6, optimizer=keras.optimizers.Adam(0.05))
    for old, name in zip(kept, ("features", "norm"), strict=False):
        for one, other in zip(old, weights_of(model, name), strict=True):
            np.testing.assert_array_equal(one, other)
    kernel, bias = weights_of(model, "head")
    np.testing.assert_allclose(kernel, kept[2][0] * np.array(history["scales"], "float32"), rtol=1e-5)
    np.testing.assert_array_equal(bias, kept[2][1])
    assert history["loss"][-1] < history["loss"][0]
    assert balanced_accuracy(model) > before


def test_the_gradient_of_the_scales_is_the_chain_rule():
    """One step of SGD against differences of the loss in each scale."""
    model = trained(epochs=2)
    kernel, _ = weights_of(model, "head")
    batches = tailfit.Batches(tailfit.data.Arrays(*skewed()), 400, tailfit.samplers.ClassBalanced(), seed=3)
    (x, y) = next(batches.iterate(0))

    def loss(scales):
        model.get_layer("head").kernel.assign(kernel * scales)
        return float(ops.convert_to_numpy(model.compute_loss(None, y, model(x, training=False), training=False)))

    slopes = [(loss(1 + 1e-2 * e) - loss(1 - 1e-2 * e)) / 2e-2 for e in np.eye(2)]
    model.get_layer("head").kernel.assign(kernel)
    history = tailfit.stages.learn_scales(model, batches, epochs=1, optimizer=keras.optimizers.SGD(1.0))
    np.testing.assert_allclose(history["scales"], 1 - np.array(slopes), rtol=2e-3)


def test_normalised_weights():
    model = trained(epochs=2)
    kernel, _ = weights_of(model, "head")
    tailfit.stages.normalize_classifier(model, tau=0.5)
    half, bias = weights_of(model, "head")
    np.testing.assert_allclose(half, kernel / np.sqrt(np.linalg.norm(kernel, axis=0)), rtol=1e-5)
    np.testing.assert_array_equal(bias, 0)
    tailfit.stages.normalize_classifier(model, tau=1.0)
    np.testing.assert_allclose(np.linalg.norm(weights_of(model, "head")[0], axis=0), 1.0, rtol=1e-5)
    tailfit.stages.normalize_classifier(model, tau=0.0)
    np.testing.assert_allclose(np.linalg.norm(weights_of(model, "head")[0], axis=0), 1.0, rtol=1e-5)


def test_what_can_not_be_a_second_stage_is_refused():
    model = trained(epochs=1)
    with pytest.raises(ArgumentError, match="ClassBalanced"):
        tailfit.stages.retrain_classifier(model, balanced(tailfit.samplers.Shuffle()), epochs=1)
    with pytest.raises(ArgumentError, match="type ndarray"):
        tailfit.stages.learn_scales(model, np.ones((2, 2)), epochs=1)
    with pytest.raises(ArgumentError, match="head="):
        tailfit.stages.normalize_classifier(model, head=model.get_layer("norm"))
    with pytest.raises(ArgumentError, match="tau"):
        tailfit.stages.normalize_classifier(model, tau=-1.0)
    inputs = keras.Input((2,))
    flat = tailfit.Model(inputs, keras.layers.Flatten()(inputs))
    with pytest.raises(ArgumentError, match="Flatten"):
        tailfit.stages.normalize_classifier(flat)
