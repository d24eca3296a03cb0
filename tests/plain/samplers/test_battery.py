"""Tests of the properties of plans, run for every sampler that `tailfit.samplers` exports."""

import dataclasses
import pickle
from fractions import Fraction
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.plans import batch_sizes, epoch_of, labels_in_any_order, seeds
from support.samplers import PROMISES, discovered

from tailfit import schedules
from tailfit.errors import ArgumentError, DataError
from tailfit.samplers import Plan, Sampler

GOLDEN_LABELS = np.repeat([0, 1, 2], [70, 9, 3])
QUICK = settings(deadline=None, max_examples=25)


def promising(keeps=lambda promise: True):
    """Parametrize a test with the configurations that have a property."""
    kept = [promise for promise in PROMISES if keeps(promise)]
    return pytest.mark.parametrize("promise", kept, ids=lambda promise: repr(promise.sampler))


every_promise = promising()
by_class = promising(lambda promise: promise.by_class)
shuffled = promising(lambda promise: promise.shuffled)
rings = promising(lambda promise: promise.rings)
level = promising(lambda promise: promise.level)


@pytest.mark.parametrize("kind", discovered())
def test_every_sampler_has_configurations(kind):
    assert any(type(promise.sampler) is kind for promise in PROMISES), (
        f"{kind.__name__} has no entry in tests/support/samplers.py: add its configurations and their laws"
    )


@rings
class TestRings:
    @QUICK
    @given(labels=labels_in_any_order(), seed=seeds, batch=batch_sizes, first=st.integers(0, 10**6))
    def test_class_counts_are_within_one_of_the_exact_quota(self, promise, labels, seed, batch, first):
        plan, counts = promise.plan(labels, seed, batch), np.bincount(labels)
        assert plan.size(first) == plan.size(0)
        for epoch in (0, 1, 2, first):
            quota = promise.exact(counts, epoch, plan.size(0))
            assert plan.size(epoch) == sum(quota)
            assert np.all(abs(plan.class_sums(epoch=epoch) - np.array(quota, dtype=float)) < promise.unit)
            drawn = np.bincount(labels[epoch_of(plan, epoch)], minlength=len(counts))
            assert all(abs(int(n) - q) < promise.unit for n, q in zip(drawn, quota, strict=True))

    @QUICK
    @given(labels=labels_in_any_order(), seed=seeds, batch=batch_sizes, first=st.integers(0, 9) | st.integers(0, 10**6))
    def test_members_are_drawn_equally_often_over_consecutive_epochs(self, promise, labels, seed, batch, first):
        plan, counts = promise.plan(labels, seed, batch), np.bincount(labels)
        times = np.zeros(len(labels), dtype=int)
        for epoch in range(first, first + 4):
            once = np.bincount(epoch_of(plan, epoch), minlength=len(labels))
            times += once
            for code, quota in enumerate(promise.exact(counts, epoch, plan.size(0))):
                members = labels == code
                # No more draws than members, so no member may be drawn twice in the epoch.
                if once[members].sum() <= counts[code]:
                    assert once[members].max() <= 1
                assert np.ptp(times[members]) <= 1
                assert quota > int(counts[code]) - promise.unit + 1 or once[members].max() <= 1


@every_promise
class TestPlan:
    @QUICK
    @given(labels=labels_in_any_order(), seed=seeds, batch=batch_sizes, data=st.data())
    def test_slices_concatenate_to_the_whole_epoch(self, promise, labels, seed, batch, data):
        plan = promise.plan(labels, seed, batch)
        size, epoch = plan.size(0), data.draw(st.integers(0, 2**40))
        cuts = [0, *sorted(data.draw(st.lists(st.integers(0, size), max_size=5))), size]
        pieces = [plan.indices(epoch, start, stop) for start, stop in pairwise(cuts)]
        whole = epoch_of(plan, epoch)
        assert np.array_equal(np.concatenate(pieces), whole)
        assert whole.dtype == np.int64
        assert whole.shape == (size,)
        assert 0 <= whole.min() <= whole.max() < len(labels)
        again = pickle.loads(pickle.dumps(plan))
        assert np.array_equal(epoch_of(again, epoch), whole)
        assert (again.batch_size, again.seed) == (plan.batch_size, seed)

    def test_slices_concatenate_across_internal_blocks(self, promise):
        labels = np.random.default_rng(0).choice(5, 150_000, p=[0.6, 0.2, 0.1, 0.05, 0.05])
        plan = promise.plan(labels, 1, 64)
        whole = epoch_of(plan, 3)
        for start, stop in ((0, 140_000), (65_535, 65_537), (65_536, 131_073), (131_071, 131_073), (149_980, 149_990)):
            assert np.array_equal(plan.indices(3, start, stop), whole[start:stop])

    def test_class_sums_equal_the_average_over_epochs(self, promise):
        rng = np.random.default_rng(0)
        labels = np.array([0] * 12 + [1] * 3 + [2] * 2 + [3])
        weights = rng.uniform(0, 2, len(labels))
        plan, classes = promise.plan(labels, 5, 4), 4
        sums, ones = np.zeros(classes), np.zeros(classes)
        # After this many epochs every ring was read a whole number of times.
        epochs = 12 * 3 * 2 * classes
        for epoch in range(promise.settled, promise.settled + epochs):
            drawn = epoch_of(plan, epoch)
            sums += np.bincount(labels[drawn], weights[drawn], minlength=classes) / epochs
            ones += np.bincount(labels[drawn], minlength=classes) / epochs
        assert np.allclose(plan.class_sums(weights, promise.settled), sums, rtol=promise.tolerance)
        assert np.allclose(plan.class_sums(epoch=promise.settled), ones, rtol=promise.tolerance)
        assert plan.class_sums(epoch=7).dtype == np.float64
        assert plan.class_sums(num_classes=6).tolist() == [*plan.class_sums(), 0, 0]
        assert np.allclose(plan.class_sums(np.zeros(len(labels))), 0)

    def test_orders_differ_between_seeds_and_epochs(self, promise):
        labels = np.repeat([0, 1, 2], [300, 60, 40])
        orders = {
            tuple(epoch_of(promise.plan(labels, seed, 32), epoch))
            for seed in (0, 1, 2, 2**64 - 1)
            for epoch in range(4)
        }
        assert len(orders) == (16 if promise.shuffled else 1)

    def test_golden_values(self, promise):
        plan = promise.plan(GOLDEN_LABELS, 2024, 8)
        assert plan.indices(3, 10, 20).tolist() == promise.golden

    def test_plans_expose_the_labels(self, promise):
        plan = promise.plan(["ok", "leak", "ok", "ok"], 0, 2)
        assert isinstance(plan, Plan)
        assert plan.labels.dtype == np.int64
        assert plan.labels.tolist() == [1, 0, 1, 1]
        assert set(plan.labels[epoch_of(plan, 0)]) <= {0, 1}

    def test_one_sample_one_class(self, promise):
        plan = promise.plan([0])
        assert [set(epoch_of(plan, epoch).tolist()) for epoch in range(3)] == [{0}] * 3

    @pytest.mark.parametrize("empty", [[], np.zeros((0, 3)), np.array([], dtype=np.int64)])
    def test_no_labels_are_refused(self, promise, empty):
        with pytest.raises(DataError, match="no labels"):
            promise.plan(empty)

    @pytest.mark.parametrize(
        "bounds", [(0, 0, 5), (0, 3, 2), (0, -1, 2), (-1, 0, 1), (0, 0.0, 1), (True, 0, 1), (0, 0, None), ("0", 0, 1)]
    )
    def test_positions_outside_the_epoch_are_refused(self, promise, bounds):
        plan = promise.plan([0, 0, 0, 0], 0, 2)
        with pytest.raises(ArgumentError):
            plan.indices(*bounds)

    def test_an_empty_slice_has_no_draws(self, promise):
        drawn = promise.plan([0, 1]).indices(0, 1, 1)
        assert (drawn.shape, drawn.dtype) == ((0,), np.int64)

    @pytest.mark.parametrize(
        "arguments",
        [{"seed": -1}, {"seed": 2**64}, {"seed": 1.0}, {"seed": None}, {"batch_size": 0}, {"batch_size": 2.0}],
    )
    def test_bad_seeds_and_batch_sizes_are_refused(self, promise, arguments):
        with pytest.raises(ArgumentError, match=next(iter(arguments))):
            promise.plan([0, 1], **arguments)

    def test_numpy_integers_are_integers(self, promise):
        plan = promise.plan([0, 1], np.int64(3), np.uint8(2))
        assert np.array_equal(plan.indices(np.int32(1), np.int64(0), np.uint8(2)), epoch_of(plan, 1)[:2])

    @pytest.mark.parametrize("weights", [[1.0], [1.0, -1.0], [1.0, np.nan], [[1.0, 1.0]]])
    def test_class_sums_of_bad_weights_are_refused(self, promise, weights):
        with pytest.raises(ArgumentError, match="weights"):
            promise.plan([0, 1]).class_sums(weights)

    def test_class_sums_of_too_few_classes_are_refused(self, promise):
        with pytest.raises(ArgumentError, match="num_classes"):
            promise.plan([0, 1]).class_sums(num_classes=1)

    def test_far_epochs_take_no_time(self, promise):
        plan = promise.plan(np.repeat([0, 1], [90, 10]), 0, 8)
        assert len(plan.indices(2**63 - 1, 0, 8)) == 8


@level
@QUICK
@given(labels=labels_in_any_order(), seed=seeds, batch=st.integers(1, 50), epoch=st.integers(0, 10**6))
def test_balanced_batches_are_balanced(promise, labels, seed, batch, epoch):
    plan, classes = promise.plan(labels, seed, batch), labels.max() + 1
    whole = labels[epoch_of(plan, epoch)]
    for start in range(0, len(whole), batch):
        assert np.ptp(np.bincount(whole[start : start + batch], minlength=classes)) <= 1


@shuffled
def test_the_order_is_random_for_sorted_labels(promise):
    labels = np.repeat([0, 1, 2], [3000, 600, 400])
    drawn = epoch_of(promise.plan(labels, 3, 50), 0)
    position = np.arange(len(drawn))
    ranks = np.corrcoef(position, drawn)[0, 1] * np.sqrt(len(drawn))
    neighbours = np.corrcoef(drawn[:-1], drawn[1:])[0, 1] * np.sqrt(len(drawn))
    assert abs(ranks) < 4
    # Balanced batches draw classes without replacement: neighbours differ slightly more often, and much more often in
    # the small batches of some samplers.
    assert -6 < neighbours < 4 or (neighbours < 4 and promise.fits(3, 50) < 50)


@by_class
class TestClasses:
    @pytest.mark.parametrize(("labels", "empty"), [([0, 2], "1"), ([1, 1], "0"), ([5], "0, 1, 2, 3, 4")])
    def test_a_gap_in_the_class_indices_is_refused(self, promise, labels, empty):
        with pytest.raises(DataError, match=f"no sample has class {empty},"):
            promise.plan(labels)

    @pytest.mark.parametrize("labels", [[[0.5, 0.5]], [[1, 1], [1, 0]], [0.5, 1.0]])
    def test_samples_without_one_class_are_refused(self, promise, labels):
        if promise.multi_label and labels == [[1, 1], [1, 0]]:
            pytest.skip("this sampler accepts multi-label samples")
        with pytest.raises(DataError):
            promise.plan(labels)

    @pytest.mark.parametrize("batch", [None, 1, 3, 8])
    def test_neighbours_of_a_class_change_each_epoch(self, promise, batch):
        # In ring order the neighbours would be the same in every epoch.
        plan = promise.plan(np.repeat([0, 1], [200, 200]), 0, batch)

        def neighbours(epoch):
            drawn = epoch_of(plan, epoch)
            drawn = drawn[drawn < 200]
            return set(pairwise(drawn))

        assert len(neighbours(0) & neighbours(1)) < 12  # about 1 is expected by chance


@every_promise
class TestConfiguration:
    def test_frozen_equal_printable_picklable(self, promise):
        sampler = promise.sampler
        assert isinstance(sampler, Sampler)
        assert eval(repr(sampler), {**vars(schedules), type(sampler).__name__: type(sampler)}) == sampler
        assert pickle.loads(pickle.dumps(sampler)) == sampler
        assert hash(dataclasses.replace(sampler)) == hash(sampler)
        with pytest.raises(dataclasses.FrozenInstanceError):
            sampler.power = 3.0

    def test_options_are_keywords(self, promise):
        # Only required options may be positional.
        for option in dataclasses.fields(promise.sampler):
            assert option.kw_only == (option.default is not dataclasses.MISSING)

    def test_class_is_final_and_documented(self, promise):
        assert getattr(type(promise.sampler), "__final__", False)
        assert ">>>" in type(promise.sampler).__doc__


def test_quotas_of_the_battery_are_exact():
    # Check the arithmetic of the battery itself: shares sum to the epoch.
    assert sum(PROMISES[3].quota(np.array([5, 7, 9]))) == Fraction(21)
