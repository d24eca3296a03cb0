"""`AverageWeights`: the mean of the last epochs, statistics that belong to it, and exact resume."""

import keras
import numpy as np
import pytest
from keras import ops

import tailfit
from tailfit.callbacks import AverageWeights, Resume
from tailfit.errors import ArgumentError

RNG = np.random.default_rng(1)
X, Y = RNG.normal(size=(20, 3)).astype("float32"), np.arange(20) % 2


def network():
    keras.utils.clear_session(free_memory=False)
    keras.utils.set_random_seed(1)
    inputs = keras.Input((3,))
    x = keras.layers.BatchNormalization(name="norm")(keras.layers.Dense(4, name="features")(inputs))
    model = tailfit.Model(inputs, keras.layers.Dense(2)(x))
    model.compile(keras.optimizers.SGD(0.5), tailfit.losses.CrossEntropy(from_logits=True))
    return model


def batches():
    return tailfit.Batches(tailfit.data.Arrays(X, Y), 8, seed=2)


class Seen(keras.callbacks.Callback):
    def __init__(self):
        super().__init__()
        self.weights = []

    def on_epoch_end(self, epoch, logs=None):
        self.weights.append([np.array(ops.convert_to_numpy(v)) for v in self.model.trainable_variables])

    def get_state(self):
        return {}

    def set_state(self, state):
        pass


class StoppedError(Exception):
    pass


class Stop(keras.callbacks.Callback):
    def __init__(self, at):
        super().__init__()
        self.at = at

    def on_epoch_begin(self, epoch, logs=None):
        if epoch == self.at:
            raise StoppedError


def test_weights_are_the_mean_and_statistics_belong_to_them():
    model, seen = network(), Seen()
    model.fit(batches(), epochs=4, callbacks=[seen, AverageWeights(2, batches())], verbose=0)
    for ours, *epochs in zip(model.trainable_variables, *seen.weights[2:], strict=True):
        np.testing.assert_allclose(ops.convert_to_numpy(ours), np.mean(epochs, axis=0), rtol=1e-6)
    kernel, bias = model.get_layer("features").get_weights()
    outputs = [x @ kernel + bias for x, _ in (batches().read(0, step) for step in range(3))]
    sizes = np.array([[len(each)] for each in outputs]) / 20
    _, _, mean, variance = model.get_layer("norm").get_weights()
    np.testing.assert_allclose(
        mean, (sizes * [each.mean(axis=0) for each in outputs]).sum(axis=0), rtol=1e-4, atol=1e-6
    )
    np.testing.assert_allclose(variance, (sizes * [each.var(axis=0) for each in outputs]).sum(axis=0), rtol=1e-4)
    assert model.get_layer("norm").momentum == 0.99


def test_continues_to_the_bit(tmp_path):
    def run(directory, at=None):
        model = network()
        callbacks = [AverageWeights(1, batches()), Stop(at), Resume(tmp_path / directory)]
        model.fit(batches(), epochs=4, callbacks=callbacks, verbose=0)
        return model.get_weights()

    whole = run("whole")
    with pytest.raises(StoppedError):
        run("stopped", at=3)
    for again in (run("stopped"), run("stopped")):  # also of a run that is over
        for ours, theirs in zip(again, whole, strict=True):
            np.testing.assert_array_equal(ours, theirs)


def test_training_that_ends_before_the_start_keeps_its_weights():
    model, other = network(), network()
    model.fit(batches(), callbacks=[AverageWeights(5, batches())], verbose=0)
    other.fit(batches(), verbose=0)
    np.testing.assert_array_equal(model.get_weights()[0], other.get_weights()[0])


def test_batch_normalization_needs_batches():
    with pytest.raises(ArgumentError, match="without batches"):
        network().fit(batches(), callbacks=[AverageWeights(0)], verbose=0)
