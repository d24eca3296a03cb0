"""`Weighted` and multi-label `RepeatFactor`, which draw by systematic sampling."""

import dataclasses
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.plans import epoch_of, seeds

from tailfit.errors import ArgumentError, DataError
from tailfit.samplers import RepeatFactor, Weighted

QUICK = settings(deadline=None, max_examples=60)
whole_weights = st.lists(st.integers(0, 1000), min_size=1, max_size=60).filter(any)


@QUICK
@given(weights=whole_weights, seed=seeds, epoch=st.integers(0, 2**63 - 1), power=st.integers(-30, 30))
def test_a_sample_is_drawn_its_share_rounded_down_or_up(weights, seed, epoch, power):
    scaled = [weight * 2.0**power for weight in weights]
    plan = Weighted(scaled).plan(len(weights), seed)
    times = np.bincount(epoch_of(plan, epoch), minlength=len(weights)).tolist()
    for count, weight in zip(times, weights, strict=True):
        assert abs(count - Fraction(len(weights) * weight, sum(weights))) < 1
        assert weight > 0 or count == 0


def test_shares_hold_over_many_epochs():
    weights = np.random.default_rng(0).uniform(0, 2, 500) ** 3
    plan = Weighted(weights).plan(500, seed=1)
    times = sum(np.bincount(epoch_of(plan, epoch), minlength=500) for epoch in range(1000))
    expected = 1000 * 500 * weights / weights.sum()
    # Independent draws would deviate by the square root of the expected number: 30 on average, up to 90.
    assert abs(times - expected).max() < 8


def test_neighbours_in_the_source_are_drawn_independently():
    """Samples that are next to each other in the source must not be next to each other in an epoch."""
    plan = Weighted(np.full(1000, 1.0)).plan(1000, seed=3)
    drawn = epoch_of(plan, 0)
    assert np.array_equal(np.sort(drawn), np.arange(1000))
    assert abs(np.corrcoef(drawn[:-1], drawn[1:])[0, 1]) < 0.13


@pytest.mark.slow
def test_many_draws_are_in_proportion():
    rng = np.random.default_rng(0)
    weights = rng.pareto(1.5, 10_000_000)
    weights[::7] = 0.0
    plan = Weighted(weights).plan(len(weights), seed=9)
    times, epochs = np.zeros(len(weights), dtype=np.int64), 100
    for epoch in range(epochs):
        once = np.bincount(epoch_of(plan, epoch), minlength=len(weights))
        share = len(weights) * weights / weights.sum()
        assert abs(once - share).max() < 1 + 1e-6
        times += once
    assert not times[::7].any()
    expected = epochs * len(weights) * weights / weights.sum()
    seen = expected > 5
    # Far below random sampling, for which chi-square over its degrees of freedom is 1.
    assert np.sum((times[seen] - expected[seen]) ** 2 / expected[seen]) / seen.sum() < 0.1


def test_class_sums_follow_the_weights():
    plan = Weighted([1.0, 1.0, 2.0, 0.0]).plan(["a", "b", "b", "a"])
    assert plan.class_sums().tolist() == [1.0, 3.0]
    assert plan.class_sums([1.0, 2.0, 0.5, 9.0]).tolist() == [1.0, 3.0]
    rows = Weighted([1.0, 3.0]).plan(np.array([[1, 1, 0], [0, 1, 1]]))
    assert rows.class_sums().tolist() == [0.5, 2.0, 1.5]


@pytest.mark.parametrize(
    ("weights", "message"),
    [([0.0, 0.0], "none above 0"), ([1.0, -1.0], "-1"), ([np.nan], "nan"), ([[1.0]], "shape"), ([], "weights")],
)
def test_bad_weights_are_refused(weights, message):
    with pytest.raises(ArgumentError, match=message):
        Weighted(weights)


def test_a_different_number_of_samples_is_refused():
    with pytest.raises(ArgumentError, match="2 weights for 3 samples"):
        Weighted([1.0, 2.0]).plan([0, 1, 1])


def test_weights_are_copied_compared_and_shown():
    given = np.arange(1.0, 9.0)
    sampler = Weighted(given)
    given[0] = 100.0
    assert sampler == Weighted(np.arange(1.0, 9.0)) != Weighted(given)
    assert hash(sampler) == hash(Weighted(np.arange(1.0, 9.0)))
    assert repr(sampler) == "Weighted([1, 2, 3, 4, 5, ...])"
    with pytest.raises(dataclasses.FrozenInstanceError):
        sampler.weights = None
    with pytest.raises(ValueError, match="read-only"):
        sampler.weights[0] = 1.0


def test_multi_label_samples_follow_their_rarest_label():
    rows = np.zeros((1000, 3))
    rows[:, 0] = 1
    rows[:90, 1] = 1
    rows[:10, 2] = 1
    rows[-1, 0] = 0  # without labels: drawn once
    plan = RepeatFactor(0.36).plan(rows, seed=4)
    # sqrt(.36 / .09) = 2, sqrt(.36 / .01) = 6
    assert plan.size(0) == 910 + 80 * 2 + 10 * 6
    for epoch in range(3):
        times = np.bincount(epoch_of(plan, epoch), minlength=1000)
        assert times[:10].tolist() == [6] * 10
        assert times[10:90].tolist() == [2] * 80
        assert times[90:].tolist() == [1] * 910
    assert plan.class_sums().tolist() == pytest.approx([1129.0, 220.0, 60.0])


def test_fractional_repeats_rotate_over_the_samples():
    rows = np.zeros((100, 2))
    rows[:30, 0] = 1
    rows[30:, 1] = 1
    rows[0, 1] = 1  # truly multi-label
    plan = RepeatFactor(0.6).plan(rows)  # sqrt(.6 / .3) = 1.41...
    times = [np.bincount(epoch_of(plan, epoch), minlength=100) for epoch in range(300)]
    assert all(set(once[30:]) == {1} and set(once[:30]) == {1, 2} for once in times)
    assert np.mean(times, axis=0)[1:30] == pytest.approx(np.full(29, np.sqrt(2)), abs=0.05)


@pytest.mark.parametrize("threshold", [0, -0.1, 1.1, np.nan, "0.1", True, None])
def test_bad_thresholds_are_refused(threshold):
    with pytest.raises(ArgumentError, match="threshold"):
        RepeatFactor(threshold)


def test_soft_labels_are_refused():
    with pytest.raises(DataError, match="soft"):
        RepeatFactor(0.1).plan([[0.5, 0.5], [0.9, 0.1]])
