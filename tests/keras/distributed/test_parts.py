"""Training by parts in one process: what it computes, and what it refuses."""

import keras
import numpy as np
import pytest

import tailfit
from tailfit.data.feeding.pieces import iterate_pieces
from tailfit.errors import ArgumentError, StepError
from tailfit.training.parts.state import Seeds
from tailfit.workers import place, placed

X = np.random.default_rng(0).normal(size=(22, 5)).astype("float32")
Y = np.arange(22) % 3
W = np.random.default_rng(1).uniform(0.2, 3.0, 22).astype("float32")


def batches(size=8, **kwargs):
    return tailfit.Batches(tailfit.data.Arrays(X, Y), size, seed=3, **kwargs)


def small(reduction="sum_over_batch_size", cls=tailfit.Model, **kwargs):
    keras.utils.set_random_seed(1)
    inputs = keras.Input((5,))
    hidden = keras.layers.Dense(4, activation="tanh", kernel_regularizer="l2", activity_regularizer="l1")(inputs)
    model = cls(inputs, keras.layers.Dense(3)(hidden))
    loss = tailfit.losses.CrossEntropy(from_logits=True, reduction=reduction)
    model.compile(keras.optimizers.SGD(0.05), loss, weighted_metrics=["accuracy"], **kwargs)
    return model


@pytest.mark.parametrize("reduction", ["sum_over_batch_size", "mean_with_sample_weight", "sum"])
def test_pieces_add_up_to_the_batch(reduction):
    """The last batch has 6 samples, and the pieces 1 or 2."""
    data = batches(sample_weight=W)
    by_parts, accumulated = small(reduction, parts=4), small(reduction, steps=[tailfit.steps.Accumulate(parts=4)])
    histories = [m.fit(data, validation_data=data, epochs=2, verbose=0).history for m in (by_parts, accumulated)]
    for one, other in zip(by_parts.get_weights(), accumulated.get_weights(), strict=True):
        np.testing.assert_allclose(one, other, atol=1e-6)
    for name, values in histories[0].items():
        np.testing.assert_allclose(values, histories[1][name], rtol=1e-5, err_msg=name)


def test_arrays_and_batches_smaller_than_parts():
    """With 22 samples in batches of 10, the last batch has 2: two of four pieces are empty."""
    by_parts, whole = small(parts=4), small()
    for model in (by_parts, whole):
        model.fit(X, Y, batch_size=10, shuffle=False, verbose=0)
    for one, other in zip(by_parts.get_weights(), whole.get_weights(), strict=True):
        np.testing.assert_allclose(one, other, atol=1e-6)


def test_moving_statistics_are_means_over_pieces():
    keras.utils.set_random_seed(1)
    model = tailfit.Model(inputs := keras.Input((5,)), keras.layers.BatchNormalization(momentum=0.0)(inputs))
    model.compile(keras.optimizers.SGD(0.0), "mse", parts=2)
    model.fit(X, X, batch_size=22, shuffle=False, verbose=0)
    halves = [X[:11], X[11:]]
    np.testing.assert_allclose(model.layers[1].moving_mean, np.mean([h.mean(0) for h in halves], 0), atol=1e-6)
    np.testing.assert_allclose(model.layers[1].moving_variance, np.mean([h.var(0) for h in halves], 0), atol=1e-5)


def test_each_piece_has_its_own_seeds_and_a_step_advances_them_once():
    generator = keras.random.SeedGenerator(7)
    seeds = Seeds([generator.state])
    drawn = [seeds.begin_piece(piece).tolist() for piece in (0, 1, 0)]
    assert drawn[0] == drawn[2] != drawn[1]
    seeds.end()
    assert keras.ops.convert_to_numpy(generator.state.value).tolist() == [7, 1]
    assert Seeds([generator.state]).begin_piece(0).tolist() != drawn[0]


@pytest.mark.parametrize("arguments", [{}, {"transform": lambda batch, rng: (batch[0] + rng.normal(), batch[1])}])
def test_a_piece_is_what_its_shard_reads(arguments):
    pieces = list(iterate_pieces(batches(**arguments), 1, 0, (1, 2), 4))
    assert [rows for rows, _ in pieces] == [8, 8, 6]
    for step, (_, read) in enumerate(pieces):
        for piece, (x, y) in zip((1, 2), read, strict=True):
            shard = batches(shard=(piece, 4), **arguments).read(1, step)
            assert np.array_equal(x, shard[0])
            assert np.array_equal(y, shard[1])


def test_shard_auto_is_that_of_the_worker():
    data = batches(shard="auto")
    with placed(1, 2):
        assert place().rank == 1
        assert data.shard == (1, 2)
        assert data.indices(0, 0).tolist() == batches(shard=(1, 2)).indices(0, 0).tolist()
    assert data.shard == (0, 1)


class Own(tailfit.Model):
    def train_step(self, data):
        return {}


def test_what_can_not_be_trained_by_parts_is_refused():
    with pytest.raises(ArgumentError, match="parts=0"):
        small(parts=0)
    with pytest.raises(StepError, match="overrides train_step"):
        small(cls=Own, parts=2)
    model = small(parts=4)
    assert model.get_compile_config()["parts"] == 4
    assert "parts" not in small().get_compile_config()
    with pytest.raises(ArgumentError, match="batch_size=2 with parts=4"):
        model.fit(batches(2), verbose=0)
    with pytest.raises(ArgumentError, match=r"shard=\(0, 2\)"):
        model.fit(batches(shard=(0, 2)), verbose=0)
    with placed(0, 3), pytest.raises(ArgumentError, match="parts=4 with 3 workers"):
        model.fit(batches(), verbose=0)
    with placed(0, 2), pytest.raises(StepError, match="training data of type"):
        model.fit(X, Y, verbose=0)
