"""tailfit.Model reads Batches in their own order, epoch by epoch, and leaves nothing behind."""

import subprocess
import sys
import threading

import keras
import numpy as np
import pytest

import tailfit
from tailfit.errors import ArgumentError, RecordError
from tailfit.training.feed import Feed, reading

N, SIZE = 21, 4


def source(n=N):
    x = np.arange(n, dtype="float32")[:, None]
    return tailfit.data.Arrays(x, np.arange(n) % 3)


def batches(**kwargs):
    return tailfit.Batches(source(), SIZE, seed=5, **kwargs)


class Recorder(tailfit.Model):
    """Writes the rows that reach a step into a variable: what was read *and* used, in order."""

    def __init__(self):
        super().__init__()
        self.head = keras.layers.Dense(3)
        self.seen = keras.Variable(np.full(400, -1.0, "float32"), trainable=False)
        self.place = keras.Variable(0, dtype="int32", trainable=False)

    def call(self, x):
        return self.head(x)

    def train_step(self, data):
        x, y, w = keras.utils.unpack_x_y_sample_weight(data)
        rows = keras.ops.shape(x)[0]
        self.seen.assign(keras.ops.slice_update(self.seen.value, [self.place.value], x[:, 0]))
        self.place.assign_add(rows)
        loss, gradients = tailfit.value_and_grad(lambda: self.compute_loss(x, y, self(x), w), self.trainable_variables)
        self.optimizer.apply(gradients, self.trainable_variables)
        return {"loss": loss}

    def rows(self):
        values = keras.ops.convert_to_numpy(self.seen.value)
        return values[values >= 0].astype(int).tolist()


def compiled(model=None):
    model = Recorder() if model is None else model
    model.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    return model


def order(data, epochs):
    return [int(i) for e in epochs for step in range(len(data)) for i in data.indices(e, step)]


@pytest.mark.parametrize("shuffle", [True, False])
@pytest.mark.parametrize("prefetch", [0, 2])
def test_trap_19_the_order_is_the_plans_whatever_shuffle_says(shuffle, prefetch):
    data, model = batches(prefetch=prefetch), compiled()
    model.fit(data, epochs=3, shuffle=shuffle, verbose=0)
    assert model.rows() == order(data, range(3))


def test_trap_20_the_phantom_epoch_does_not_count():
    data, model = batches(), compiled()
    model.fit(data, epochs=5, initial_epoch=3, verbose=0)
    assert model.rows() == order(data, [3, 4])


def test_validation_in_between_changes_nothing():
    data, model = batches(), compiled()
    validation = tailfit.Batches(source(9), SIZE, tailfit.samplers.Sequential())
    history = model.fit(data, epochs=3, validation_data=validation, verbose=0)
    assert model.rows() == order(data, range(3))
    assert len(history.history["val_loss"]) == 3


def test_trap_21_nothing_is_left_running_after_an_early_stop():
    class Stop(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            if batch == 1:
                self.model.stop_training = True

    data, model = batches(), compiled()
    model.fit(data, epochs=3, verbose=0, callbacks=[Stop()])
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("tailfit")]
    assert model.rows() == order(data, [0])[: 2 * SIZE]


def test_an_error_in_a_callback_leaves_nothing_running():
    class Fail(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            raise RuntimeError("full disk")

    with pytest.raises(RuntimeError, match="full disk"):
        compiled().fit(batches(), verbose=0, callbacks=[Fail()])
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("tailfit")]


def test_a_feed_that_is_over_opens_nothing_again(backend):
    """TensorFlow's own thread may ask for one more batch after the loop has ended: an error would be in its log."""
    feed = Feed(batches())
    with reading(feed):
        last = feed[0]
    if backend == "tensorflow":
        assert feed[1] is last
    else:
        with pytest.raises(IndexError, match="over"):
            feed[1]
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("tailfit")]


def test_a_broken_file_reaches_the_user_with_its_name(tmp_path):
    folder = tmp_path / "data"
    folder.mkdir()
    for i in range(8):
        np.save(folder / f"r{i}.npy", np.ones(2, "float32"))
    data = tailfit.Batches(
        tailfit.data.NpyFolder(folder, {f"r{i}": i % 2 for i in range(8)}), 2, tailfit.samplers.Sequential()
    )
    (folder / "r5.npy").write_bytes(b"")
    inputs = keras.Input((2,))
    model = compiled(tailfit.Model(inputs, keras.layers.Dense(2)(inputs)))
    with pytest.raises(RecordError, match=r"r5\.npy"):
        model.fit(data, verbose=0)
    before = model.get_weights()
    for use in (model.evaluate, model.predict):
        with pytest.raises(RecordError, match=r"r5\.npy"):
            use(data, verbose=0)
        after = model.get_weights()  # Keras on JAX would have lost them
        assert all((a == b).all() for a, b in zip(before, after, strict=True))
    (folder / "r0.npy").write_bytes(b"")  # the very first batch
    with pytest.raises(RecordError, match=r"r0\.npy"):
        model.evaluate(data, verbose=0)
    assert all((a == b).all() for a, b in zip(after, model.get_weights(), strict=True))
    np.save(folder / "r0.npy", np.ones(2, "float32"))
    with pytest.raises(RecordError, match=r"r5\.npy"):
        model.fit(np.ones((2, 2)), np.ones(2), validation_data=data, verbose=0)


def test_evaluate_and_predict_read_epoch_0_of_a_sampler_that_was_passed():
    inputs = keras.Input((1,))
    model = compiled(tailfit.Model(inputs, keras.layers.Dense(3)(inputs)))
    data = batches(sampler=tailfit.samplers.Shuffle())
    with pytest.warns(UserWarning, match=r"row i is not sample i.*batches\.indices\(0, step\)"):
        predictions = model.predict(data, verbose=0)
    expected = model.predict(source().read(np.array(order(data, [0]))), verbose=0)
    np.testing.assert_allclose(predictions, expected, rtol=1e-6)
    x, y = source().read(np.arange(N)), source().labels
    assert model.evaluate(data, verbose=0) == pytest.approx(model.evaluate(x, y, verbose=0), rel=1e-5)


def test_weights_reach_the_loss():
    weights = np.linspace(0.5, 2.0, N)
    inputs = keras.Input((1,))
    model = tailfit.Model(inputs, keras.layers.Dense(3, kernel_initializer="zeros")(inputs))
    model.compile(keras.optimizers.SGD(0.0), tailfit.losses.CrossEntropy(from_logits=True))
    history = model.fit(batches(sample_weight=weights), verbose=0)
    assert history.history["loss"][0] == pytest.approx(np.log(3) * weights.mean(), rel=1e-5)


@pytest.mark.parametrize(
    "extra",
    [
        {"y": np.zeros(N)},
        {"batch_size": 8},
        {"class_weight": {0: 1.0}},
        {"sample_weight": np.ones(N - 1)},
        {"validation_split": 0.2},
        {"steps_per_epoch": 2},
    ],
    ids=lambda extra: next(iter(extra)),
)
def test_what_batches_say_themselves_is_refused_beside_them(extra):
    with pytest.raises(ArgumentError, match=next(iter(extra))):
        compiled().fit(batches(), verbose=0, **extra)


def test_a_callback_list_of_ones_own():
    data, model = batches(), compiled()
    callbacks = keras.callbacks.CallbackList([keras.callbacks.History()], model=model, epochs=2)
    before = list(callbacks.callbacks)
    model.fit(data, epochs=2, callbacks=callbacks, verbose=0)
    assert model.rows() == order(data, range(2))
    assert callbacks.callbacks == before


@pytest.mark.timeout(120)
@pytest.mark.only_on("tensorflow")  # TensorFlow reads in a thread of its own
def test_a_process_ends_after_an_unreadable_record(tmp_path):
    """TensorFlow's iterator outlived the loop, and waited at the interpreter's end for a thread that was gone."""
    script = """
import sys
import keras
import numpy as np
import tailfit

folder = sys.argv[1] + "/set"
x = np.zeros((400, 3), "float32")
tailfit.data.save_npy_folder(folder, x, list(map(str, np.arange(400) % 2)), ids=[f"{n:03d}" for n in range(400)])
source = tailfit.data.open(folder)
open(folder + "/data/030.npy", "wb").close()
inputs = keras.Input((3,))
model = tailfit.Model(inputs, keras.layers.Dense(2)(inputs))
model.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
model.fit(tailfit.Batches(source, 4, tailfit.samplers.Sequential()), verbose=0)
"""
    ended = subprocess.run([sys.executable, "-c", script, str(tmp_path)], capture_output=True, text=True, timeout=90)
    assert ended.returncode == 1
    assert "RecordError" in ended.stderr.splitlines()[-1]
    assert "030.npy" in ended.stderr.splitlines()[-1]


def test_a_class_of_one_group_is_a_warning():
    grouped = source(6).grouped([0, 1, 2, 0, 1, 3])  # class 0 and class 1 are in one group each
    inputs = keras.Input((1,))
    model = tailfit.Model(inputs, keras.layers.Dense(3)(inputs))
    model.compile(loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True), run_eagerly=True)
    with pytest.warns(tailfit.data.DataWarning, match=r"one group by keys: '0' \(in '0'\), '1' \(in '1'\)\. Expected"):
        model.fit(tailfit.Batches(grouped, SIZE), verbose=0)


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
