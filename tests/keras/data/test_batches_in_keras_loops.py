"""Batches in plain Keras loops: epochs in order, or an error; extra epochs and validation do not count."""

import contextlib
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

import tailfit
from tailfit.data import Arrays, NpyFolder
from tailfit.data.feeding.keras_loops import calling_adapter
from tailfit.errors import RecordError, StepError
from tailfit.samplers import Bootstrap, Sequential, Shuffle

SIZE = 22


def source() -> Arrays:
    return Arrays(np.arange(SIZE, dtype="float32")[:, None] / SIZE, np.minimum(np.arange(SIZE) % 4, 1))


class Recorder(keras.Model):
    """A model that records its samples in a variable, so that it works in compiled steps on every backend."""

    def __init__(self) -> None:
        super().__init__()
        self.head = keras.layers.Dense(2)
        self.seen = self.add_weight(shape=(2, 500), initializer="zeros", trainable=False)
        self.fill = self.add_weight(shape=(2,), initializer="zeros", dtype="int32", trainable=False)

    def call(self, x: Any, training: bool = False) -> Any:
        if keras.ops.is_tensor(x) and not isinstance(x, keras.KerasTensor):
            row = int(bool(training))
            start, size = self.fill[row], keras.ops.shape(x)[0]
            rows = keras.ops.slice_update(self.seen[row], [start], keras.ops.reshape(x, (-1,)) * SIZE + 1)
            self.seen.assign(keras.ops.stack([rows, self.seen[1]] if row == 0 else [self.seen[0], rows]))
            self.fill.assign(self.fill + keras.ops.convert_to_tensor([size * (1 - row), size * row], "int32"))
        return self.head(x)

    def trained(self) -> list[int]:
        return self._rows(1)

    def evaluated(self) -> list[int]:
        return self._rows(0)

    def _rows(self, row: int) -> list[int]:
        values = keras.ops.convert_to_numpy(self.seen)[row]
        return (np.rint(values[values > 0]) - 1).astype(int).tolist()


def model(**keywords: Any) -> Recorder:
    built = Recorder()
    built.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True), **keywords)
    return built


def order(batches: tailfit.Batches, *epochs: int) -> list[int]:
    steps = [batches.indices(epoch, step) for epoch in epochs for step in range(len(batches))]
    return np.concatenate(steps).tolist()


@pytest.mark.parametrize("batch_size", [4, 11, 21, SIZE])
@pytest.mark.parametrize("built", [False, True])
def test_each_epoch_in_its_order(batch_size: int, built: bool) -> None:
    batches, net = tailfit.Batches(source(), batch_size, seed=4), model()
    if built:
        net.train_on_batch(*batches.read(9, 0))
    before = len(net.trained())
    net.fit(batches, epochs=3, shuffle=False, verbose=0)
    assert net.trained()[before:] == order(batches, 0, 1, 2)
    assert batches.epoch == 2


def test_a_second_fit_starts_at_the_set_epoch() -> None:
    batches, net = tailfit.Batches(source(), 4), model()
    net.fit(batches, epochs=2, shuffle=False, verbose=0)
    net.fit(batches, epochs=1, shuffle=False, verbose=0)
    batches.set_epoch(5)
    net.fit(batches, initial_epoch=5, epochs=7, shuffle=False, verbose=0)
    assert net.trained() == order(batches, 0, 1, 0, 5, 6)


def test_set_epoch_in_a_callback() -> None:
    batches, net = tailfit.Batches(source(), 4), model()
    back = keras.callbacks.LambdaCallback(on_epoch_begin=lambda epoch, logs: batches.set_epoch(10 * epoch))
    net.fit(batches, epochs=3, shuffle=False, verbose=0, callbacks=[back])
    assert net.trained() == order(batches, 0, 10, 20)


def test_shuffled_steps_are_refused_before_any_is_trained() -> None:
    batches, net = tailfit.Batches(source(), 4), model()
    with pytest.raises(StepError, match=r"fit\(shuffle=True\).*shuffle=False"):
        net.fit(batches, verbose=0)
    assert net.trained() == []
    net.fit(batches, shuffle=False, verbose=0)
    assert net.trained() == order(batches, 0)


def test_steps_out_of_order_are_refused() -> None:
    """Also if Keras' `shuffle` could not be seen: the order of steps is checked for each loop."""
    batches = tailfit.Batches(source(), 4)
    one, other = Loop(batches), Loop(batches)
    for loop, step in ((one, 0), (other, 0), (one, 1), (other, 1), (one, 2)):
        loop.read(step)
    with pytest.raises(StepError, match=r"step 3 instead of step 2.*shuffle=False"):
        other.read(3)
    one.read(3)


class Loop:
    """A reader like Keras' adapter."""

    def __init__(self, batches: tailfit.Batches) -> None:
        self.py_dataset = batches

    def read(self, step: int) -> Any:
        return self.py_dataset[step]


def test_keras_calls_data_sets_through_its_adapter() -> None:
    """The undocumented behaviour that `Batches` depends on; see `tailfit.data.feeding.keras_loops`."""
    from keras.src.trainers.data_adapters.py_dataset_adapter import PyDatasetAdapter

    found: list[Any] = []

    class Probe(keras.utils.PyDataset):
        def __init__(self) -> None:
            super().__init__()

        def __len__(self) -> int:
            return 1

        def __getitem__(self, step: int) -> Any:
            found.append(calling_adapter(self))
            return (np.zeros((1, 1)),)

        def on_epoch_begin(self) -> None:
            found.append(calling_adapter(self))

        def on_epoch_end(self) -> None:
            found.append(calling_adapter(self))

    probe = Probe()
    adapter = PyDatasetAdapter(probe, shuffle=True)
    assert adapter.shuffle is True
    adapter.on_epoch_begin()
    list(adapter._get_iterator())
    adapter.on_epoch_end()
    assert found == [adapter] * 3
    probe[0], probe.on_epoch_end()
    assert found[3:] == [None, None]


@pytest.mark.parametrize("freq", [1, 2])
def test_the_same_batches_as_validation_data(freq: int) -> None:
    batches, net = tailfit.Batches(source(), 4), model()
    net.fit(batches, validation_data=batches, validation_freq=freq, epochs=4, shuffle=False, verbose=0)
    assert net.trained() == order(batches, 0, 1, 2, 3)
    assert net.evaluated() == order(batches, *range(4 // freq))


def test_evaluate_and_predict_between_fits() -> None:
    batches, net = tailfit.Batches(source(), 4), model()
    net.fit(batches, epochs=2, shuffle=False, verbose=0)
    net.evaluate(batches, verbose=0)
    assert net.predict(batches, verbose=0).shape == (SIZE, 2)
    assert net.evaluated() == [*range(SIZE), *range(SIZE)]  # in the source's order, because no sampler was passed
    net.fit(batches, epochs=1, shuffle=False, verbose=0)
    assert net.trained() == order(batches, 0, 1, 0)


@pytest.mark.parametrize("batch_size", [4, 11, SIZE])
def test_predict_reads_the_set_epoch(batch_size: int) -> None:
    """Also if TensorFlow reads everything first to find shapes."""
    batches, net = tailfit.Batches(source(), batch_size, Shuffle()), model()
    batches.set_epoch(3)
    with pytest.warns(UserWarning, match=r"order of Shuffle.*batches\.indices\(3, step\)"):
        net.predict(batches, verbose=0)
    assert net.evaluated() == order(batches, 3)


def test_predict_reads_unlabelled_in_order() -> None:
    batches, net = tailfit.Batches(Arrays(source().read(np.arange(SIZE))), 4, Sequential()), model()
    net.predict(batches, verbose=0)
    assert net.evaluated() == list(range(SIZE))


def test_an_early_stop_leaves_nothing_behind() -> None:
    batches, net = tailfit.Batches(source(), 4), model()

    def stop(step: int, logs: Any) -> None:
        net.stop_training = step == 2

    net.fit(batches, shuffle=False, verbose=0, callbacks=[keras.callbacks.LambdaCallback(on_train_batch_end=stop)])
    assert net.trained() == order(batches, 0)[:12]
    np.testing.assert_array_equal(batches[4][1], source().labels[batches.indices(0, 4)])
    net.fit(batches, epochs=2, shuffle=False, verbose=0)
    assert net.trained()[12:] == order(batches, 0, 1)


def test_own_reads_during_training() -> None:
    batches, net = tailfit.Batches(source(), 4), model()
    read = []
    back = keras.callbacks.LambdaCallback(on_train_batch_end=lambda step, logs: read.append(batches[0][0]))
    net.fit(batches, epochs=2, shuffle=False, verbose=0, callbacks=[back])
    assert net.trained() == order(batches, 0, 1)
    assert len(read) == 12


def test_fewer_validation_steps() -> None:
    batches, held, net = tailfit.Batches(source(), 4), tailfit.Batches(source(), 4, Sequential()), model()
    net.fit(batches, validation_data=held, validation_steps=2, epochs=3, shuffle=False, verbose=0)
    assert net.trained() == order(batches, 0, 1, 2)
    assert net.evaluated() == list(range(8)) * 3


def test_fewer_steps_per_epoch_continue_through_the_data() -> None:
    batches, net = tailfit.Batches(source(), 4), model()
    with contextlib.suppress(RuntimeWarning):
        net.fit(batches, steps_per_epoch=3, epochs=4, shuffle=False, verbose=0)
    assert net.trained() == order(batches, 0, 1)


def test_weights_reach_the_loss() -> None:
    own = np.linspace(0.0, 2.0, SIZE)
    batches = tailfit.Batches(source(), SIZE, Sequential(), class_weight="balanced", sample_weight=own)
    x, y, w = batches[0]
    plain, fed = model(), model()
    for net in (plain, fed):
        net.train_on_batch(x, y)
    plain.set_weights(fed.get_weights())
    plain.reset_metrics()  # train_on_batch of an older Keras continues averaging
    history = fed.fit(batches, shuffle=False, verbose=0).history["loss"]
    np.testing.assert_allclose(history[0], plain.train_on_batch(x, y, sample_weight=w), rtol=1e-6)


def test_one_hot_and_bootstrap_train() -> None:
    batches = tailfit.Batches(source(), 4, Bootstrap(), one_hot=True)
    net = Recorder()
    net.compile("sgd", keras.losses.CategoricalCrossentropy(from_logits=True))
    net.fit(batches, epochs=2, shuffle=False, verbose=0)
    assert net.trained() == order(batches, 0, 1)


def test_a_bad_file_stops_fit_with_its_name(tmp_path: Path) -> None:
    for number in range(8):
        np.save(tmp_path / f"{number}.npy", np.full(1, number, "float32"))
    labels = {f"{number}": number % 2 for number in range(8)}
    batches, net = tailfit.Batches(NpyFolder(tmp_path, labels), 2, Sequential()), model()
    (tmp_path / "5.npy").write_bytes(b"")
    # TensorFlow wraps errors of a data set in its own, with the message inside.
    kind: Any = Exception if keras.backend.backend() == "tensorflow" else RecordError
    with pytest.raises(kind, match=r"5\.npy: an empty file"):
        net.fit(batches, shuffle=False, verbose=0)
