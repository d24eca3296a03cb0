"""Records of different length through `fit`: few shapes, and the numbers of the records without their padding."""

import keras
import numpy as np
import pytest

import tailfit
from tailfit.data import Arrays, Mapped, Pad, Ragged
from tailfit.errors import ArgumentError
from tailfit.samplers import ByLength

LENGTHS = np.random.default_rng(0).integers(1, 13, 60)
RECORDS = [np.random.default_rng(n).normal(size=(steps, 2)).astype("float32") for n, steps in enumerate(LENGTHS)]


def source():
    return Arrays(Ragged(RECORDS), LENGTHS % 2)


@pytest.fixture
def network():
    x, mask = keras.Input((None, 2)), keras.Input((None,), dtype="bool")
    features = keras.layers.SimpleRNN(3)(x, mask=mask)
    return tailfit.Model([x, mask], keras.layers.Dense(2)(features))


def test_a_mask_input_gives_the_numbers_of_records_without_padding(network):
    sampler = ByLength(LENGTHS, buckets=2)
    batches = tailfit.Batches(Mapped(source(), Pad(to=sampler.edges, mask="input")), 8, sampler, seed=1)
    with pytest.warns(UserWarning, match=r"order of ByLength.*batches\.indices\(0, step\)"):
        scores = network.predict(batches, verbose=0)
    for row in (0, 17, 59):
        position = int(batches.indices(0, row // 8)[row % 8])
        record = RECORDS[position][None]
        alone = network([record, np.ones(record.shape[:2], bool)])
        np.testing.assert_allclose(scores[row], keras.ops.convert_to_numpy(alone)[0], atol=1e-6)


def test_lengths_may_differ_after_two_batches_that_agree():
    """TensorFlow infers the shapes of all batches from the first two."""
    lengths = [4] * 12 + [9] * 4
    ragged = Ragged([np.ones((steps, 2), "float32") for steps in lengths])
    inputs = keras.Input((None, 2))
    model = tailfit.Model(inputs, keras.layers.Dense(2)(keras.layers.GlobalAveragePooling1D()(inputs)))
    model.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    in_order = tailfit.samplers.Sequential()
    batches = tailfit.Batches(Arrays(ragged, [0, 1] * 8), 4, in_order, transform=Pad().transform)
    assert batches.step_of_another_length() == 3
    assert np.isfinite(model.fit(batches, epochs=2, validation_data=batches, verbose=0).history["val_loss"]).all()
    assert model.predict(batches, verbose=0).shape == (16, 2)


def test_a_padding_value_is_skipped_by_masking():
    inputs = keras.Input((None, 2))
    model = keras.Model(inputs, keras.layers.SimpleRNN(3)(keras.layers.Masking(mask_value=-9.0)(inputs)))
    padded = Pad(value=-9.0)(Ragged(RECORDS[:3]))
    for row, record in zip(model.predict(padded, verbose=0), RECORDS, strict=False):
        np.testing.assert_allclose(row, model.predict(record[None], verbose=0)[0], atol=1e-6)


def test_few_shapes_reach_the_network(network):
    sampler = ByLength(LENGTHS, buckets=2)
    pad = Pad(to=sampler.edges, mask="input")
    batches = tailfit.Batches(source(), 16, sampler, seed=2, transform=pad.transform, drop_remainder=True)
    shapes = {batch[0][0].shape for epoch in range(5) for batch in batches.iterate(epoch)}
    assert shapes == {(16, edge, 2) for edge in sampler.edges}
    network.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    history = network.fit(batches, epochs=2, verbose=0).history["loss"]
    assert np.isfinite(history).all()
    assert history[1] != history[0]


def test_unpadded_records_of_different_length_are_refused():
    with pytest.raises(ArgumentError, match="Pad"):
        tailfit.Batches(source())
    with pytest.raises(ArgumentError, match="Pad"):
        tailfit.Batches(Mapped(source(), lambda records: records.map(np.abs))).read(0, 0)
