"""Memory that is given again: never while anything refers to it."""

import keras
import numpy as np
import pytest

import tailfit
from tailfit.training.reused import Reused

LIKE = ({"signal": np.ones((4, 3), "float32"), "site": np.zeros(4, "int8")}, np.zeros((4, 2)), np.ones(4, "float32"))


def described(batch):
    return keras.tree.map_structure(lambda leaf: (leaf.shape, str(leaf.dtype)), batch)


def test_arrays_are_like_the_batch_and_apart():
    batch = Reused(LIKE)()
    assert described(batch) == described(LIKE)
    leaves = keras.tree.flatten(batch)
    for number, leaf in enumerate(leaves):
        leaf[...] = number
    assert [set(leaf.ravel().tolist()) for leaf in leaves] == [{0}, {1}, {2}, {3}]
    assert all(leaf.flags.writeable and leaf.flags.c_contiguous and leaf.ctypes.data % 64 == 16 for leaf in leaves)


@pytest.mark.parametrize(
    "hold",
    [lambda batch: batch, lambda batch: batch[2][1:], lambda batch: memoryview(batch[1])],
    ids=["batch", "view", "memory"],
)
def test_what_is_held_is_not_given_again(hold):
    reused = Reused(LIKE)
    held = [hold(reused()) for _ in range(4)]
    assert reused() is None
    begins = {
        np.asarray(part if not isinstance(part, tuple) else part[1]).__array_interface__["data"][0] for part in held
    }
    assert len(begins) == 4
    held.pop(2)
    assert reused() is not None


def test_objects_are_not_reused():
    assert Reused((np.array(["a", None], dtype=object),))() is None


@pytest.mark.only_on("tensorflow")  # tf.data
def test_batches_that_a_tf_dataset_keeps_stay_as_they_were():
    from keras.src.trainers.data_adapters.py_dataset_adapter import PyDatasetAdapter

    from tailfit.training.feed import Feed, reading

    x = np.random.default_rng(0).normal(size=(512, 700)).astype("float32")
    batches = tailfit.Batches(tailfit.data.Arrays(x, np.arange(512) % 2), 16, seed=3)
    feed = Feed(batches)
    with reading(feed):
        adapter = PyDatasetAdapter(feed, shuffle=False)
        kept = [part for part, _ in adapter.get_tf_dataset()]
    assert len(kept) == 32
    for step, part in enumerate(kept):
        np.testing.assert_array_equal(part, x[batches.indices(0, step)])
