"""`Batches` as data sets of `tf.data`, torch and grain: the same batches, epoch after epoch."""

import keras
import numpy as np
import pytest

import tailfit
from tailfit.data import to_grain, to_tf_dataset, to_torch

X = np.arange(22, dtype="float32").reshape(11, 2)


def batches(**given):
    return tailfit.Batches(tailfit.data.Arrays(X, np.arange(11) % 3), 4, seed=3, class_weight="balanced", **given)


def as_numpy(batch):
    return [np.asarray(part) for part in batch]


@pytest.fixture
def made(backend):
    """(data set of `batches()` from epoch 2, its name)"""
    return (to_torch if backend == "torch" else to_tf_dataset)(batches(), epoch=2)


has_data_sets = pytest.mark.only_on("tensorflow", "torch")


@has_data_sets
def test_each_pass_is_the_next_epoch(made):
    assert len(made) == 3
    next(iter(made))  # an incomplete pass does not count
    for epoch in (2, 3):
        for got, expected in zip(made, batches().iterate(epoch), strict=True):
            for one, other in zip(as_numpy(got), expected, strict=True):
                np.testing.assert_array_equal(one, other)
                assert one.dtype == other.dtype


@has_data_sets
def test_keras_trains_on_it(made):
    inputs = keras.Input((2,))
    model = keras.Model(inputs, keras.layers.Dense(3)(inputs))
    model.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    history = model.fit(made, epochs=2, shuffle=False, verbose=0).history
    assert len(history["loss"]) == 2
    assert int(keras.ops.convert_to_numpy(model.optimizer.iterations)) == 6


def test_trap_25_grain_has_the_length_and_the_class_weights():
    pytest.importorskip("grain")
    made = to_grain(batches(), epoch=2)
    assert len(made) == 3
    assert len(made.repeat(2)) == 6
    for steps, epochs in ((made, [2]), (made.repeat(2), [2, 3])):
        expected = [batch for epoch in epochs for batch in batches().iterate(epoch)]
        for got, truth in zip(steps, expected, strict=True):
            assert len(truth) == 3  # with weights
            for one, other in zip(got, truth, strict=True):
                np.testing.assert_array_equal(one, other)
    np.testing.assert_array_equal(made[1:][0][0], batches().read(2, 1)[0])
    inputs = keras.Input((2,))
    losses = []
    for data, options in ((made.repeat(), {"steps_per_epoch": 3}), (batches(), {"initial_epoch": 2})):
        keras.utils.set_random_seed(0)
        model = tailfit.Model(inputs, keras.layers.Dense(3)(inputs))
        model.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
        epochs = 2 + options.get("initial_epoch", 0)
        losses.append(model.fit(data, epochs=epochs, shuffle=False, verbose=0, **options).history["loss"])
    np.testing.assert_allclose(losses[0], losses[1], rtol=1e-5)
