"""`Batches` as a `tf.data.Dataset` and a torch `DataLoader`: the same batches, epoch after epoch."""

import keras
import numpy as np
import pytest

import tailfit
from tailfit.data import to_tf_dataset, to_torch

X = np.arange(22, dtype="float32").reshape(11, 2)


def batches(**given):
    return tailfit.Batches(tailfit.data.Arrays(X, np.arange(11) % 3), 4, seed=3, class_weight="balanced", **given)


def as_numpy(batch):
    return [np.asarray(part) for part in batch]


@pytest.fixture
def made(backend):
    """(data set of `batches()` from epoch 2, its name)"""
    if backend == "torch":
        return to_torch(batches(), epoch=2)
    if backend == "tensorflow":
        return to_tf_dataset(batches(), epoch=2)
    pytest.skip("a data set of another library, in a process that has it")


def test_each_pass_is_the_next_epoch(made):
    assert len(made) == 3
    next(iter(made))  # a look does not count
    for epoch in (2, 3):
        for got, expected in zip(made, batches().iterate(epoch), strict=True):
            for one, other in zip(as_numpy(got), expected, strict=True):
                np.testing.assert_array_equal(one, other)
                assert one.dtype == other.dtype


def test_keras_trains_on_it(made):
    inputs = keras.Input((2,))
    model = keras.Model(inputs, keras.layers.Dense(3)(inputs))
    model.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    history = model.fit(made, epochs=2, shuffle=False, verbose=0).history
    assert len(history["loss"]) == 2
    assert int(keras.ops.convert_to_numpy(model.optimizer.iterations)) == 6
