"""The composition of the batches of `Stratified` and `PerClass`."""

from fractions import Fraction
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.plans import epoch_of, labels_in_any_order, seeds

from tailfit.errors import ArgumentError
from tailfit.samplers import PerClass, Stratified

QUICK = settings(deadline=None, max_examples=60)


@QUICK
@given(labels=labels_in_any_order(), seed=seeds, batch=st.integers(1, 60), epoch=st.integers(0, 10**9))
def test_every_batch_has_the_class_mix_of_the_data(labels, seed, batch, epoch):
    """Each count is its share rounded up or down, also in a short last batch."""
    drawn = epoch_of(Stratified().plan(labels, seed, batch), epoch)
    assert np.array_equal(np.sort(drawn), np.arange(len(labels)))
    counts = np.bincount(labels).tolist()
    for start in range(0, len(drawn), batch):
        part = labels[drawn[start : start + batch]]
        got = np.bincount(part, minlength=len(counts)).tolist()
        assert all(abs(n - Fraction(count * len(part), len(labels))) < 1 for n, count in zip(got, counts, strict=True))


def test_samples_of_a_stratified_batch_are_combined_at_random():
    """Two rare classes of 5 samples in 20 batches: by chance they share 5 * 5 / 20 batches on average."""
    labels = np.repeat([0, 1, 2, 3], [97, 93, 5, 5])
    plan = Stratified().plan(labels, 1, 10)
    met = [
        sum({2, 3} <= set(labels[plan.indices(epoch, start, start + 10)]) for start in range(0, 200, 10))
        for epoch in range(100)
    ]
    assert 0.3 < np.mean(met) < 2.5
    first_batches = {tuple(sorted(plan.indices(epoch, 0, 10))) for epoch in range(50)}
    assert len(first_batches) == 50


def test_stratified_batches_vary_less_than_shuffled_ones():
    labels = np.repeat([0, 1, 2], [600, 300, 100])
    drawn = epoch_of(Stratified().plan(labels, 0, 50), 0)
    rare = [(labels[drawn[start : start + 50]] == 2).sum() for start in range(0, 1000, 50)]
    assert set(rare) == {5}


@QUICK
@given(
    labels=labels_in_any_order(), seed=seeds, m=st.integers(1, 5), share=st.floats(0, 1), epoch=st.integers(0, 10**9)
)
def test_a_batch_has_m_samples_of_each_of_its_classes(labels, seed, m, share, epoch):
    counts = np.bincount(labels)
    seats = max(1, round(share * len(counts)))
    plan = PerClass(m).plan(labels, seed, m * seats)
    drawn = epoch_of(plan, epoch)
    assert len(drawn) == max(len(labels) // (m * seats), 1) * m * seats
    for start in range(0, len(drawn), m * seats):
        batch = drawn[start : start + m * seats]
        classes, times = np.unique(labels[batch], return_counts=True)
        assert len(classes) == seats
        assert set(times) == {m}
        for code in classes:
            of_class = np.bincount(batch[labels[batch] == code], minlength=len(labels))[labels == code]
            # No sample may repeat before all other samples of the class were drawn.
            assert np.ptp(of_class) <= 1


def test_classes_share_batches_in_all_combinations():
    labels = np.repeat(np.arange(6), 20)
    plan = PerClass(2).plan(labels, 0, 4)
    met = {
        tuple(np.unique(labels[plan.indices(epoch, start, start + 4)]))
        for epoch in range(30)
        for start in range(0, plan.size(0), 4)
    }
    assert met == set(combinations(range(6), 2))


def test_samples_of_a_class_share_batches_in_all_combinations():
    labels = np.repeat([0, 1], [7, 3])
    plan = PerClass(2).plan(labels, 0, 4)
    met = set()
    for epoch in range(200):
        drawn = epoch_of(plan, epoch).reshape(-1, 4)
        met |= {tuple(sorted(row[labels[row] == 0])) for row in drawn}
    assert met == set(combinations(range(7), 2))


@pytest.mark.parametrize("batch", [3, 8, 1])
def test_a_batch_size_that_is_not_a_multiple_or_too_large_is_refused(batch):
    with pytest.raises(ArgumentError, match=f"batch_size={batch} for PerClass"):
        PerClass(2).plan([0, 1, 1], 0, batch)


def test_without_a_batch_size_a_batch_has_all_classes():
    plan = PerClass(3).plan(np.repeat([0, 1], 10))
    assert plan.size(0) == 18
    assert np.bincount(plan.labels[plan.indices(0, 6, 12)]).tolist() == [3, 3]


@pytest.mark.parametrize("m", [0, -1, 1.0, True, None])
def test_bad_m_is_refused(m):
    with pytest.raises(ArgumentError, match="m="):
        PerClass(m)
