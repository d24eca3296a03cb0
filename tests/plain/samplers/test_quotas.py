"""Shares, quotas and rings, and properties of single samplers."""

import decimal
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tailfit.errors import ArgumentError, DataError
from tailfit.samplers import Bootstrap, ClassBalanced, Sequential, Shuffle
from tailfit.samplers.balanced import places_after
from tailfit.samplers.index import ListedLabels
from tailfit.samplers.quotas import largest_remainder, power_shares


@settings(deadline=None, max_examples=200)
@given(st.integers(0, 10**12), st.lists(st.integers(0, 10**12), min_size=1, max_size=8).filter(any))
def test_largest_remainder_splits_all_and_stays_within_one(total, shares):
    quotas = largest_remainder(total, shares)
    exact = [Fraction(total * share, sum(shares)) for share in shares]
    assert quotas.sum() == total
    assert all(abs(int(quota) - each) < 1 for quota, each in zip(quotas, exact, strict=True))
    # No remainder that was rounded down is larger than one that was rounded up.
    up = [each % 1 for quota, each in zip(quotas, exact, strict=True) if quota > each]
    down = [each % 1 for quota, each in zip(quotas, exact, strict=True) if quota < each]
    assert not up or not down or min(up) >= max(down)


@settings(deadline=None, max_examples=100)
@given(st.lists(st.integers(1, 10**9), min_size=1, max_size=8), st.floats(0, 3))
def test_power_shares_are_in_proportion(counts, power):
    shares = np.array([float(share) for share in power_shares(np.array(counts), power)])
    expected = (np.array(counts) / max(counts)) ** power
    assert np.allclose(shares / shares.max(), expected, rtol=1e-12)


def test_power_shares_do_not_depend_on_the_users_decimal_context():
    counts = np.array([3, 1000])
    expected = power_shares(counts, 0.3)
    with decimal.localcontext(decimal.Context(prec=2, traps=[decimal.Inexact])):
        assert power_shares(counts, 0.3) == expected


def test_a_high_power_leaves_rare_classes_out_and_a_low_one_never_does():
    labels = np.repeat([0, 1, 2], [100_000, 10, 1])
    assert ClassBalanced(power=30.0).plan(labels).class_sums().tolist() == [100_011, 0, 0]
    for power in (0.0, 0.5, 0.99, 1.0):
        assert ClassBalanced(power=power).plan(labels).class_sums().min() >= 1


def test_quotas_do_not_suffer_from_float_rounding():
    # 0.1 * 3 style rounding must not move a draw from one class to another.
    labels = np.repeat(np.arange(49), 49)
    assert ClassBalanced(power=1.0).plan(labels).class_sums().tolist() == [49.0] * 49


@pytest.mark.parametrize("power", [-0.1, float("nan"), float("inf"), True, np.True_, "1", None, 1j])
def test_bad_powers_are_refused(power):
    with pytest.raises(ArgumentError, match="power="):
        ClassBalanced(power=power)


@pytest.mark.parametrize("cover", [1, None, "yes"])
def test_a_cover_that_is_not_a_bool_is_refused(cover):
    with pytest.raises(ArgumentError, match="cover="):
        Bootstrap(cover=cover)


def test_numpy_numbers_are_numbers():
    assert ClassBalanced(power=np.float32(0.5)) == ClassBalanced(power=0.5)
    assert repr(ClassBalanced(power=np.float64(1))) == "ClassBalanced(power=1.0)"
    assert Bootstrap(cover=np.True_) == Bootstrap(cover=True)


def test_a_ring_has_each_member_once_in_an_order_that_depends_on_the_seed():
    codes = np.random.default_rng(0).integers(0, 4, 5000)
    rings = []
    for seed in (0, 1):
        index = ListedLabels(codes, seed=seed)
        for code in range(4):
            places = np.arange(index.counts[code])
            ring = index.members(np.full(len(places), code), places)
            assert np.array_equal(np.sort(ring), np.flatnonzero(codes == code))
            rings.append(ring)
    assert np.count_nonzero(rings[0] == rings[4]) < 10
    assert abs(np.corrcoef(rings[0], np.arange(len(rings[0])))[0, 1]) * np.sqrt(len(rings[0])) < 4


def test_many_classes():
    codes = np.arange(70_000)  # beyond 16 bits
    plan = Bootstrap().plan(codes, 0, 64)
    assert np.array_equal(np.sort(plan.indices(0, 0, 70_000)), codes)


def test_places_far_into_a_run_do_not_overflow():
    draws, counts = np.array([10**12, 7]), np.array([10**12 - 1, 3])
    for epochs in (0, 5, 2**62):
        expected = [epochs * int(each) % int(count) for each, count in zip(draws, counts, strict=True)]
        assert places_after(epochs, draws, counts).tolist() == expected


class TestBootstrap:
    def test_classes_take_turns_in_batches_smaller_than_the_number_of_classes(self):
        labels = np.repeat(np.arange(10), 7)
        plan = Bootstrap().plan(labels, 0, 3)
        drawn = labels[plan.indices(0, 0, 70)]
        for start in range(0, 60, 10):  # balanced within one after any number of whole batches
            assert np.ptp(np.bincount(drawn[: start // 3 * 3], minlength=10)) <= 1
        assert set(drawn[:12]) == set(range(10))

    def test_extra_draws_of_an_epoch_rotate_over_the_classes(self):
        labels = np.array([0, 1, 2, 3, 4, 0, 0])
        plan = Bootstrap().plan(labels, 3, 2)  # 7 draws for 5 classes: two classes get one more in each epoch
        counts = sum(np.bincount(labels[plan.indices(epoch, 0, 7)], minlength=5) for epoch in range(5))
        assert counts.tolist() == [7] * 5

    def test_the_extra_slot_of_a_batch_varies(self):
        labels = np.repeat(np.arange(3), 100)
        plan = Bootstrap().plan(labels, 0, 10)  # 3, 3 and 4 slots
        batches = labels[plan.indices(0, 0, 300)].reshape(30, 10)
        favoured = [int(np.argmax(np.bincount(batch, minlength=3))) for batch in batches]
        assert np.bincount(favoured).tolist() == [10, 10, 10]
        assert len({tuple(favoured[start : start + 3]) for start in range(0, 30, 3)}) > 2

    def test_the_order_within_a_batch_is_random(self):
        labels = np.repeat(np.arange(2), 4000)
        plan = Bootstrap().plan(labels, 0, 8)
        slots = labels[plan.indices(0, 0, 8000)].reshape(1000, 8)
        share = slots.mean(axis=0)
        assert np.abs(share - 0.5).max() < 4 * 0.5 / np.sqrt(1000)
        assert len({tuple(batch) for batch in slots}) == 70  # all 8-choose-4 orders

    def test_cover_draws_all_of_the_largest_class_and_the_default_a_part(self):
        labels = np.repeat([0, 1], [90, 10])
        for cover, size, seen in ((True, 180, 90), (False, 100, 50)):
            plan = Bootstrap(cover=cover).plan(labels, 1, 16)
            drawn = plan.indices(0, 0, plan.size(0))
            largest = drawn[drawn < 90]
            assert (plan.size(0), len(largest), len(set(largest))) == (size, seen, seen)

    @settings(deadline=None, max_examples=40)
    @given(st.integers(1, 9), st.integers(1, 40), st.integers(1, 30), st.integers(0, 10**9))
    def test_class_counts_differ_by_one_over_consecutive_epochs(self, classes, extra, batch, first):
        labels = np.concatenate([np.arange(classes), np.zeros(extra, dtype=int)])
        plan = Bootstrap().plan(labels, 0, batch)
        total = np.zeros(classes, dtype=int)
        for epoch in range(first, first + 3):
            total += np.bincount(labels[plan.indices(epoch, 0, len(labels))], minlength=classes)
            assert np.ptp(total) <= 1


class TestUniform:
    @pytest.mark.parametrize("sampler", [Sequential(), Shuffle()])
    @pytest.mark.parametrize(
        "labels", [6, [0.5, 1.5, 2.5, 1.0, 0.1, 9.0], np.ones((6, 3)), np.zeros((6, 2, 2)), list("abcabc")]
    )
    def test_only_the_number_of_samples_matters(self, sampler, labels):
        plan = sampler.plan(labels, 4)
        assert sorted(plan.indices(1, 0, 6).tolist()) == list(range(6))
        assert np.array_equal(plan.indices(1, 0, 6), sampler.plan(6, 4).indices(1, 0, 6))

    @pytest.mark.parametrize("labels", [0, -3, True, 2.0, "abc", None])
    def test_an_invalid_number_of_samples_is_refused(self, labels):
        with pytest.raises((ArgumentError, DataError)):
            Shuffle().plan(labels)

    def test_labels_are_required_only_by_class_sums(self):
        plan = Shuffle().plan(5)
        with pytest.raises(DataError, match="a number of samples"):
            plan.class_sums()
        with pytest.raises(DataError, match="a number of samples"):
            _ = plan.labels

    def test_class_sums_of_soft_and_multi_label_rows(self):
        soft = Shuffle().plan([[0.25, 0.75], [1, 0]])
        assert soft.class_sums([2.0, 1.0]).tolist() == [1.5, 1.5]
        several = Sequential().plan([[1, 1, 0], [0, 1, 0]])
        assert several.class_sums().tolist() == [1, 2, 0]

    def test_ten_to_the_twelve_samples_take_no_memory(self):
        plan = Shuffle().plan(10**12, seed=1)
        last = plan.indices(5, 10**12 - 4, 10**12)
        assert len(set(last.tolist())) == 4
        assert 0 <= last.min() <= last.max() < 10**12
