"""The fast integer arithmetic, compared with NumPy's."""

import hypothesis
import hypothesis.strategies as st
import numpy as np
import pytest

from tailfit.samplers.arithmetic import Line, chosen, divided

LENGTHS = st.lists(st.one_of(st.just(0), st.integers(0, 5), st.integers(0, 1 << 50)), min_size=1, max_size=60)


@pytest.mark.parametrize("kept", [False, True])
@hypothesis.given(lengths=LENGTHS, seed=st.integers(0, 99))
@hypothesis.settings(deadline=None, max_examples=100)
def test_line_finds_the_same_segments_as_searchsorted(kept, lengths, seed):
    ends = np.cumsum([*lengths, 1])
    drawn = np.random.default_rng(seed).integers(ends[-1], size=2_000)  # many points use the guide table
    points = np.unique(np.concatenate([drawn, ends[:-1], np.maximum(ends - 1, 0), np.maximum(ends - 2, 0)]))
    expected = np.searchsorted(ends, points, side="right")
    line = Line(ends, kept=kept)
    assert line.at(points).tolist() == expected.tolist()
    assert line.at(points[:3]).tolist() == expected[:3].tolist()


@pytest.mark.parametrize("heavy", [0, 50_000, 99_999])
def test_one_cell_may_contain_almost_all_segments(heavy):
    """One segment is nearly the whole line, so the guide table can't separate the others."""
    lengths = np.ones(100_000, dtype=np.int64)
    lengths[heavy] = 1 << 40
    lengths[10:20] = 0
    ends = np.cumsum(lengths)
    points = np.concatenate([ends[:-1], np.random.default_rng(0).integers(ends[-1], size=5_000)])
    assert (Line(ends, kept=True).at(points) == np.searchsorted(ends, points, side="right")).all()


@hypothesis.given(values=st.lists(st.integers(0, (1 << 62) - 1), min_size=1, max_size=20), by=st.integers(1, 1 << 62))
def test_quotients_and_remainders(values, by):
    quotients, remainders = divided(np.array(values), by)
    assert list(zip(quotients.tolist(), remainders.tolist(), strict=True)) == [divmod(value, by) for value in values]


def test_chosen_equals_where():
    rng = np.random.default_rng(0)
    condition, yes, no = rng.random(100) < 0.5, rng.integers(1 << 61, size=100), rng.integers(1 << 61, size=100)
    assert (chosen(condition, yes, no) == np.where(condition, yes, no)).all()
