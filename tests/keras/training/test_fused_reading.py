"""Several batches a call on JAX: read from memory straight into the array that the fused program runs over."""

import jax
import keras
import numpy as np
import pytest

import tailfit
from tailfit.data import Arrays, Packed, pack

pytestmark = pytest.mark.only_on("jax")  # batches are stacked there only

X = np.random.default_rng(0).normal(size=(46, 3)).astype("float32")


def fitted(source, together, **given):
    keras.utils.set_random_seed(0)
    inputs = keras.Input((3,))
    model = tailfit.Model(inputs, keras.layers.Dense(2)(inputs))
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.SGD(0.1), loss, steps_per_execution=together)
    batches = tailfit.Batches(source, 4, seed=3, class_weight="balanced", **given)
    model.fit(batches, epochs=3, verbose=0, validation_data=batches)
    return np.concatenate([keras.ops.convert_to_numpy(w.value).ravel() for w in model.weights])


@pytest.mark.parametrize("device", ["cpu", "gpu"])
def test_each_record_is_copied_once_and_the_numbers_are_those_of_single_steps(device, monkeypatch):
    monkeypatch.setattr(jax, "default_backend", lambda: device)  # on which Keras gives batches that are there already
    source, sizes = Arrays(X, np.arange(46) % 2), []
    read = Arrays._read
    monkeypatch.setattr(Arrays, "_read", lambda self, indices: sizes.append(len(indices)) or read(self, indices))
    together = fitted(source, 4)
    # Fresh arrays before there is a stack: Keras' look at the first batch, and the first call of training and of
    # validation. Then for the short last batch only, of 3 + 3 epochs.
    assert sizes.count(4) <= 12
    assert sizes.count(2) == 6
    np.testing.assert_allclose(together, fitted(source, 1), rtol=1e-6)


def test_a_batch_that_a_callback_keeps_is_not_written_again():
    """What is handed out of a loop of one's own is fresh, also while a fit reads into its stack."""
    batches = tailfit.Batches(Arrays(X, np.arange(46) % 2), 4, seed=1)
    kept = []

    class Keep(keras.callbacks.Callback):
        def on_train_batch_end(self, step, logs=None):
            kept.append((step, batches.read(0, step)[0], next(batches.iterate(0, step))[0]))

    inputs = keras.Input((3,))
    model = tailfit.Model(inputs, keras.layers.Dense(2)(inputs))
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile("sgd", loss, steps_per_execution=4)
    model.fit(batches, epochs=3, verbose=0, callbacks=[Keep()])
    assert len(kept) == 9
    for step, one, other in kept:
        np.testing.assert_array_equal(one, X[batches.indices(0, step)])
        np.testing.assert_array_equal(other, one)


def test_a_generator_of_ones_own_gets_fresh_batches():
    batches, kept = tailfit.Batches(Arrays(X[:40], np.arange(40) % 2), 4, seed=1), []

    def own():
        for batch in batches.iterate(0):
            kept.append(batch[0])
            yield batch

    inputs = keras.Input((3,))
    model = tailfit.Model(inputs, keras.layers.Dense(2)(inputs))
    model.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True), steps_per_execution=2)
    model.fit(own(), shuffle=False, steps_per_epoch=10, verbose=0)
    np.testing.assert_array_equal(np.concatenate(kept), X[np.concatenate([batches.indices(0, n) for n in range(10)])])


@pytest.mark.parametrize(
    "kind", ["packed", *(pytest.param(kind, marks=pytest.mark.slow) for kind in ("files", "nest", "transform", "skip"))]
)
def test_every_kind_of_reading_gives_the_same(kind, tmp_path):
    x = {"a": X, "b": X * 2} if kind == "nest" else X
    source, given = Arrays(x, np.arange(46) % 2), {}
    if kind in ("packed", "files"):
        pack(source, tmp_path / "set")
        source = Packed(tmp_path / "set", memory=kind == "packed")
    if kind == "transform":
        given["transform"] = lambda batch, rng: (batch[0] + rng.normal(), *batch[1:])
    if kind == "skip":
        given["on_error"] = "skip"
    if kind == "nest":
        source = tailfit.data.Mapped(source, lambda records: records["a"] + records["b"])
    np.testing.assert_allclose(fitted(source, 4, **given), fitted(source, 1, **given), rtol=1e-6)


def test_inputs_of_one_shape_keep_their_names():
    """JAX sorts the keys of a dict; records go where their key is, not where their place was."""
    x = {"z": X, "a": 10 - X}

    def weights(together):
        keras.utils.set_random_seed(0)
        inputs = {name: keras.Input((3,), name=name) for name in x}
        hidden = keras.layers.Concatenate()([inputs["z"], inputs["a"]])
        model = tailfit.Model(inputs, keras.layers.Dense(2)(hidden))
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        model.compile(keras.optimizers.SGD(0.01), loss, steps_per_execution=together)
        model.fit(tailfit.Batches(Arrays(x, np.arange(46) % 2), 4, seed=3), epochs=2, verbose=0)
        return model.get_weights()[0]

    np.testing.assert_allclose(weights(4), weights(1), rtol=1e-5)


def test_programs_are_described_with_the_types_of_the_device():
    """On a GPU batches stay on the host until they are stacked; JAX warns of 64-bit types in a description."""
    from tailfit.training.backends.jax import _as_on_device

    batch = ({"b": np.zeros((4, 2)), "a": np.zeros((4, 3), "float32")}, np.zeros(4, "int64"), None)
    ((begin, end, batches),) = _as_on_device([(0, 1, iter([batch]))])
    x, y, weights = next(batches)
    assert (begin, end, list(x), weights) == (0, 1, ["b", "a"], None)
    assert (x["b"].dtype, x["b"].shape, y.dtype, y.shape) == ("float32", (4, 2), "int32", (4,))
