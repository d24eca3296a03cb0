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


def test_a_layer_of_cosines_is_retrained():
    x, y = skewed()
    inputs = keras.Input((2,))
    hidden = keras.layers.Dense(8, activation="tanh", name="features")(inputs)
    model = tailfit.Model(inputs, tailfit.layers.CosineDense(2, name="head")(hidden))
    loss = tailfit.losses.LDAM([380, 20], max_margin=0.0, from_logits=True)
    model.compile(keras.optimizers.Adam(0.01), loss)
    model.fit(x, y, epochs=15, verbose=0)
    before, features = balanced_accuracy(model), weights_of(model, "features")
    tailfit.stages.retrain_classifier(model, balanced(), epochs=8, optimizer=keras.optimizers.Adam(0.02), verbose=0)
    for one, other in zip(features, weights_of(model, "features"), strict=True):
        np.testing.assert_array_equal(one, other)
    assert balanced_accuracy(model) > before + 0.02
    with pytest.raises(ArgumentError, match=r"CosineDense.*Expected a built Dense layer of"):
        tailfit.stages.normalize_classifier(model)


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


def in_batches(batches, epochs):
    """The inputs and labels of each step."""
    for epoch in range(epochs):
        for step in range(len(batches)):
            yield batches.read(epoch, step)


def probabilities(z):
    e = np.exp(z - z.max(axis=1, keepdims=True))
    return e / e.sum(axis=1, keepdims=True)


def linear():
    inputs = keras.Input((2,))
    model = tailfit.Model(inputs, keras.layers.Dense(2, name="head")(inputs))
    model.compile("sgd", tailfit.losses.CrossEntropy(from_logits=True))
    return model


def test_over_smoothing_is_descent_on_nearly_uniform_targets():
    """SGD in NumPy towards 1 - d + d / C and d / C, from the same initial weights."""
    keras.utils.set_random_seed(1)
    model, batches = linear(), balanced(tailfit.samplers.Shuffle())
    start = []
    first = keras.callbacks.LambdaCallback(on_train_begin=lambda logs: start.extend(weights_of(model, "head")))
    model.get_layer("head").set_weights([np.full((2, 2), 7.0), np.ones(2)])
    tailfit.stages.smooth_classifier(
        model, batches, epochs=2, label_smoothing=0.9, optimizer=keras.optimizers.SGD(0.5), callbacks=[first], verbose=0
    )
    kernel, bias = (value.astype(float) for value in start)
    assert np.abs(kernel).max() < 2, "the layer begins anew"
    for x, y in in_batches(batches, 2):
        error = (probabilities(x @ kernel + bias) - (0.1 * np.eye(2)[y] + 0.45)) / len(x)
        kernel -= 0.5 * x.T @ error
        bias -= 0.5 * error.sum(axis=0)
    ours = weights_of(model, "head")
    np.testing.assert_allclose(ours[0], kernel, rtol=1e-3, atol=1e-5)
    np.testing.assert_allclose(ours[1], bias, rtol=1e-3, atol=1e-5)


def test_weight_balancing_is_projected_descent():
    """The authors' projection in NumPy, after each step of SGD with the class-balanced loss."""
    model, batches = linear(), balanced(tailfit.samplers.Shuffle())
    kernel, bias = np.array([[3.0, 0.2], [4.0, 0.1]]), np.zeros(2)
    model.get_layer("head").set_weights([kernel, bias])
    tailfit.stages.balance_classifier(
        model, batches, epochs=1, threshold=0.2, optimizer=keras.optimizers.SGD(0.5), verbose=0
    )
    norms = np.linalg.norm(kernel, axis=0)
    bound = norms.min() + 0.2 * (norms.max() - norms.min())
    weights = (1 - 0.9999) / (1 - 0.9999**batches.class_counts)
    weights *= 2 / weights.sum()
    for x, y in in_batches(batches, 1):
        error = weights[y][:, None] * (probabilities(x @ kernel + bias) - np.eye(2)[y]) / len(x)
        kernel = kernel - 0.5 * x.T @ error
        bias = bias - 0.5 * error.sum(axis=0)
        kernel = kernel * np.minimum(1, bound / np.linalg.norm(kernel, axis=0))
    ours = weights_of(model, "head")
    np.testing.assert_allclose(ours[0], kernel, rtol=1e-3, atol=1e-5)
    np.testing.assert_allclose(ours[1], bias, rtol=1e-3, atol=1e-5)
    assert model.get_layer("head").kernel.constraint is None


def test_mislas_trains_the_head_and_factors_and_moves_batch_statistics():
    """Descent in NumPy on kernel, bias and factors; the features of each step use the statistics of its batch."""
    model, batches = trained(epochs=2), balanced()
    kept = weights_of(model, "features"), weights_of(model, "norm")
    kernel, bias = (value.astype(float) for value in weights_of(model, "head"))
    scales, smoothing = np.ones(2), np.array([0.4, 0.1])
    found = tailfit.stages.mislas_classifier(model, batches, epochs=1, optimizer=keras.optimizers.SGD(0.1))
    gamma, beta = kept[1][:2]
    for x, y in in_batches(batches, 1):
        hidden = np.tanh(x @ kept[0][0] + kept[0][1])
        hidden = gamma * (hidden - hidden.mean(axis=0)) / np.sqrt(hidden.var(axis=0) + 1e-3) + beta
        logits = hidden @ kernel + bias
        share = smoothing[y][:, None]
        error = (probabilities(scales * logits) - ((1 - share) * np.eye(2)[y] + share / 2)) / len(x)
        kernel, bias, scales = (
            kernel - 0.1 * hidden.T @ (error * scales),
            bias - 0.1 * (error * scales).sum(axis=0),
            scales - 0.1 * (error * logits).sum(axis=0),
        )
    ours = weights_of(model, "head")
    np.testing.assert_allclose(found["scales"], scales, rtol=1e-3)
    np.testing.assert_allclose(ours[0], kernel * scales, rtol=2e-3, atol=1e-4)
    np.testing.assert_allclose(ours[1], bias * scales, rtol=2e-3, atol=1e-4)
    for old, new in zip(kept[0] + kept[1][:2], weights_of(model, "features") + weights_of(model, "norm"), strict=False):
        np.testing.assert_array_equal(old, new)
    assert np.abs(kept[1][2] - weights_of(model, "norm")[2]).max() > 1e-3
