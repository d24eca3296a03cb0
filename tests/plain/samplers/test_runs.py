"""Run-length encoded labels give the same plans as the labels themselves."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.plans import epoch_of
from support.samplers import PROMISES

from tailfit.errors import ArgumentError, DataError
from tailfit.samplers import ClassBalanced, Shuffle
from tailfit.samplers.index import ListedLabels
from tailfit.samplers.runs import RunIndex, Runs

BY_CLASS = [promise for promise in PROMISES if promise.by_class]


@settings(deadline=None, max_examples=100)
@given(runs=st.lists(st.tuples(st.integers(0, 3), st.integers(1, 30)), min_size=1, max_size=8), seed=st.integers(0, 99))
def test_each_ring_is_a_shuffle_of_its_class(runs, seed):
    codes = np.unique([code for code, _ in runs], return_inverse=True)[1]
    labels = Runs(codes, [length for _, length in runs])
    listed = np.repeat(codes, labels.lengths)
    assert labels.at(np.arange(len(labels))).tolist() == listed.tolist()
    index, other = RunIndex(labels, seed=seed), ListedLabels(listed, seed=seed)
    assert index.counts.tolist() == other.counts.tolist()
    for code, count in enumerate(index.counts.tolist()):
        places = np.arange(count)
        found = index.members(np.full(count, code), places)
        assert sorted(found.tolist()) == np.flatnonzero(listed == code).tolist()
        # The ring equals that of the listed labels.
        assert found.tolist() == other.members(np.full(count, code), places).tolist()


@pytest.mark.parametrize("promise", BY_CLASS, ids=lambda promise: repr(promise.sampler))
def test_plans_equal_those_of_the_listed_labels(promise, monkeypatch):
    labels = Runs([2, 0, 1, 0], [5, 40, 9, 30])
    listed = np.repeat([2, 0, 1, 0], [5, 40, 9, 30])
    batch = promise.fits(3, 8)
    ours, theirs = (promise.sampler.plan(given, 3, batch) for given in (labels, listed))
    with monkeypatch.context() as patch:
        patch.setattr("tailfit.samplers.index._STORED", 0)  # many labels: rings are computed, not stored
        many = promise.sampler.plan(listed, 3, batch)
    for epoch in (0, 7):
        assert epoch_of(ours, epoch).tolist() == epoch_of(theirs, epoch).tolist()
        assert epoch_of(ours, epoch).tolist() == epoch_of(many, epoch).tolist()
    assert ours.class_sums().tolist() == theirs.class_sums().tolist()


@pytest.mark.parametrize("promise", BY_CLASS, ids=lambda promise: repr(promise.sampler))
@pytest.mark.parametrize("samples", [10**9, 10**11])
def test_data_too_large_to_list(promise, samples):
    labels = Runs([0, 1, 2], [samples - 10**6 - 1000, 10**6, 1000])
    plan = promise.sampler.plan(labels, 5, promise.fits(3, 64))
    size = plan.size(0)
    assert size >= samples // 2
    for epoch in (0, 3):
        for start in (0, size // 2, size - 64):
            drawn = plan.indices(epoch, start, start + 64)
            assert drawn.min() >= 0
            assert drawn.max() < samples
    shares = plan.class_sums(epoch=1) / size
    drawn = labels.at(plan.indices(1, size // 3, size // 3 + 60_000))
    assert np.abs(np.bincount(drawn, minlength=3) / 60_000 - shares).max() < 0.01


def test_shuffle_needs_only_the_number_of_samples():
    plan = Shuffle().plan(Runs([0], [10**12]))
    assert plan.size(0) == 10**12
    assert len(set(plan.indices(0, 10**12 - 100, 10**12).tolist())) == 100


def test_a_request_for_all_labels_is_refused():
    plan = ClassBalanced().plan(Runs([0, 1], [10**9, 5]))
    with pytest.raises(DataError, match=r"runs\.at"):
        _ = plan.labels


@pytest.mark.parametrize(
    ("codes", "lengths", "message"),
    [
        ([0, 1], [3], "2 codes and 1 lengths"),
        ([], [], "codes of shape"),
        ([0, 1], [3, 0], "lengths"),
        ([0, -1], [3, 1], "codes"),
        ([0.0], [3], "codes"),
        ([0, 0], [2**62, 2**62], "at most"),
        (["a"], [3], "codes"),
    ],
)
def test_bad_runs_are_refused(codes, lengths, message):
    with pytest.raises(ArgumentError, match=message):
        Runs(codes, lengths)


def test_a_gap_in_the_class_indices_is_refused():
    with pytest.raises(DataError, match="class 1"):
        ClassBalanced().plan(Runs([0, 2], [3, 3]))
