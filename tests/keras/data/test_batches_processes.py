"""`Batches(processes=)`: the same fit for any number of workers, which stop at its end."""

import multiprocessing

import keras
import numpy as np
import pytest
from support import transforms

import tailfit
from tailfit.data import Arrays, NpyFolder
from tailfit.errors import ArgumentError

X = np.arange(40, dtype="float32")[:, None]


def batches(**given):
    return tailfit.Batches(Arrays(X, np.arange(40) % 2), 8, seed=3, class_weight="balanced", **given)


def fitted(data):
    keras.utils.set_random_seed(1)
    inputs = keras.Input((1,))
    model = tailfit.Model(inputs, keras.layers.Dense(2)(inputs))
    model.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    return model.fit(data, epochs=2, verbose=0).history["loss"]


def test_trap_22_workers_draw_the_same_numbers_and_fit_stops_them():
    made = batches(transform=transforms.jitter, processes=2)
    here = batches(transform=transforms.jitter)
    doubled = {"sample_weight": np.full(40, 2.0)}
    for theirs, ours in ((made, here), (made.weighted(**doubled), here.weighted(**doubled))):
        for epoch in (0, 5):
            for got, expected in zip(theirs.iterate(epoch), ours.iterate(epoch), strict=True):
                for one, other in zip(got, expected, strict=True):
                    np.testing.assert_array_equal(one, other)
    assert len(multiprocessing.active_children()) == 2
    assert fitted(made) == fitted(batches(transform=transforms.jitter))
    assert not multiprocessing.active_children()


def test_an_error_in_a_worker_stops_fit_and_the_workers(tmp_path):
    for number in range(12):
        np.save(tmp_path / f"{number:02d}.npy", X[number])
    folder = NpyFolder(tmp_path, {f"{number:02d}": number % 2 for number in range(12)})
    data = tailfit.Batches(folder, 4, tailfit.samplers.Sequential(), transform=transforms.jitter, processes=1)
    (tmp_path / "05.npy").write_bytes(b"")
    with pytest.raises(tailfit.errors.RecordError, match=r"05\.npy: an empty file"):
        fitted(data)
    assert not multiprocessing.active_children()


def test_useless_or_impossible_processes_are_refused():
    with pytest.raises(ArgumentError, match="without a transform"):
        batches(processes=2)
    with pytest.raises(ArgumentError, match="def"):
        batches(processes=2, transform=lambda batch, rng: batch)
    with pytest.raises(ArgumentError, match="processes=-1"):
        batches(processes=-1)
