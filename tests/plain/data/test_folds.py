"""Cross-validation folds: each sample is held out once, no group is cut, classes are spread evenly."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.model_selection import StratifiedGroupKFold

from tailfit.data import Arrays, Windows, folds
from tailfit.errors import ArgumentError


@settings(deadline=None, max_examples=40)
@given(
    st.lists(st.tuples(st.integers(1, 5), st.integers(0, 3)), min_size=5, max_size=30),
    st.integers(2, 5),
    st.integers(0, 9),
)
def test_laws(groups, count, seed):
    keys = np.repeat(np.arange(len(groups)), [size for size, _ in groups])
    source = Arrays(np.arange(len(keys)), np.array([code for _, code in groups])[keys])
    parts = folds(source, count, by=keys, seed=seed)
    assert len(parts) == count
    assert sorted(np.concatenate([held_out.indices for _, held_out in parts])) == list(range(len(keys)))
    for train, held_out in parts:
        assert sorted([*train.indices, *held_out.indices]) == list(range(len(keys)))
        assert set(train.groups).isdisjoint(held_out.groups)
        assert len(held_out)
    again = folds(source.grouped(keys), count, seed=seed)
    assert [part.ids for pair in parts for part in pair] == [part.ids for pair in again for part in pair]


def test_without_groups_every_class_is_spread_evenly():
    source = Arrays(np.arange(103), [0] * 73 + [1] * 23 + [2] * 7)
    counts = np.array([held_out.class_counts for _, held_out in folds(source, 5)])
    assert (np.ptp(counts, axis=0) <= 1).all()
    assert folds(source, 5, seed=1)[0][1].ids != folds(source, 5)[0][1].ids


@pytest.mark.parametrize("seed", range(3))
def test_class_shares_are_at_least_as_even_as_those_of_scikit_learn(seed):
    rng = np.random.default_rng(seed)
    keys = np.repeat(np.arange(60), rng.integers(1, 40, 60))
    labels = np.where(rng.random(60) < 0.25, 1, 0)[keys] ^ (rng.random(len(keys)) < 0.05)
    source = Arrays(np.arange(len(keys)), labels.astype(int))

    def spread(parts):
        shares = np.array([np.bincount(labels[part], minlength=2) for part in parts]) / source.class_counts
        return np.abs(shares - 0.2).max()

    theirs = StratifiedGroupKFold(5, shuffle=True, random_state=seed).split(labels, labels, keys)
    ours = [held_out.indices for _, held_out in folds(source, 5, by=keys, seed=seed)]
    assert spread(ours) <= spread([held_out for _, held_out in theirs]) + 0.01


def test_windows_of_a_record_stay_together():
    windows = Windows(Arrays(np.zeros((6, 9)), [0, 1] * 3), 3)
    for train, held_out in folds(windows, 3):
        assert set(train.metadata["record"]).isdisjoint(held_out.metadata["record"])
    with pytest.raises(ArgumentError, match="6 groups"):
        folds(windows, 7)
