"""Labels of windows from labels of steps: every rule, what is left out, and the views of the records."""

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tailfit.data import Arrays, Concat, Mapped, Ragged, Subset, Windows
from tailfit.data.sources.window_labels import LabelRule
from tailfit.errors import ArgumentError, DataError

NAMES = ("ok", "leak", "wear")


class Stepped(Arrays):
    """Records of different length with a label per step."""

    def __init__(self, *labels, names=NAMES, **options):
        super().__init__(Ragged([np.arange(len(steps), dtype=np.float32)[:, None] for steps in labels]), **options)
        self._of_steps = labels
        self._step_classes = tuple(names)

    def step_labels(self, index):
        return np.array(self._of_steps[index], np.int32)


RUNS = Stepped([0, 0, 0, 1, 1, 1, 1, -1, -1, 1, 1, 0], [2, 2, -1, -1, 0, 2], [0, 0])


def labels_of(windows):
    return dict(zip(windows.ids, (windows.class_names[code] for code in windows.labels), strict=True))


def test_last_and_first():
    assert labels_of(Windows(RUNS, 3, 3)) == {"0@0": "ok", "0@3": "leak", "0@9": "ok", "1@3": "wear"}
    assert labels_of(Windows(RUNS, 3, 3, label="first")) == {
        "0@0": "ok",
        "0@3": "leak",
        "0@6": "leak",
        "0@9": "leak",
        "1@0": "wear",
    }
    windows = Windows(RUNS, 3, 3)
    assert windows.read([1]).tolist() == [[[3.0], [4.0], [5.0]]]
    assert windows.metadata["start"].to_list() == [0, 3, 9, 3]
    assert windows.metadata["record"].to_list() == ["0", "0", "0", "1"]
    assert windows.groups.tolist() == [0, 0, 0, 1]
    assert windows.class_names == NAMES


def test_any_and_onset():
    assert set(labels_of(Windows(RUNS, 3, 1, label="any:leak")).items()) >= {
        ("0@1", "leak"),
        ("0@7", "leak"),
        ("0@0", "ok"),
    }
    onset = labels_of(Windows(RUNS, 1, 1, label="onset", onset=2))
    # Before the first change everything is kept. A label that is left out is not a change.
    assert onset == {
        **{f"0@{step}": "ok" for step in (0, 1, 2, 11)},
        **{f"0@{step}": "leak" for step in (3, 4)},
        **{f"1@{step}": "wear" for step in (0, 1, 5)},
        "1@4": "ok",
        **{f"2@{step}": "ok" for step in (0, 1)},
    }


def test_a_function():
    windows = Windows(RUNS, 3, 3, label=lambda steps: np.where((steps < 0).any(axis=1), -1, steps.max(axis=1)))
    assert labels_of(windows) == {"0@0": "ok", "0@3": "leak", "0@9": "leak"}
    for wrong in (lambda steps: steps, lambda steps: steps.mean(axis=1), lambda steps: np.full(len(steps), 3)):
        with pytest.raises(ArgumentError, match="function label="):
            Windows(RUNS, 3, label=wrong)


@given(st.lists(st.lists(st.integers(-1, 2), min_size=1, max_size=12), min_size=1, max_size=4), st.integers(1, 6))
def test_majority_counts(records, length):
    labels = np.concatenate(records).astype(np.int32)
    begins = np.cumsum([0, *map(len, records)])
    first = np.array([b + s for b, r in zip(begins, records, strict=False) for s in range(len(r) - length + 1)], int)
    found = LabelRule("majority")(labels, first, length, NAMES)
    for start, code in zip(first, found, strict=True):
        window = labels[start : start + length].tolist()
        most = max(map(window.count, window))
        assert code == next(label for label in reversed(window) if window.count(label) == most)


def test_every_view_of_records():
    parts = Subset(RUNS, [1, 0]), Mapped(RUNS, lambda records: records), Concat(Subset(RUNS, [0]), Subset(RUNS, [1, 2]))
    for view in parts:
        windows = labels_of(Windows(view, 3, 3))
        assert windows == {"0@0": "ok", "0@3": "leak", "0@9": "ok", "1@3": "wear"}
    other = Stepped([1, 1, 0], names=("fire", "ok"), ids=["x"])
    both = Windows(Concat(RUNS, other), 3, 3)
    assert both.class_names == (*NAMES, "fire")
    assert labels_of(both)["x@0"] == "fire"
    with pytest.raises(DataError, match="source 1 without labels of steps"):
        Concat(RUNS, Arrays(Ragged([np.zeros((3, 1), np.float32)]), ["ok"], ["x"]))
    with pytest.raises(DataError, match="'0' with 12 labels of steps for 1 steps"):
        Windows(Mapped(RUNS, lambda records: Ragged([record[:1] for record in records])), 1)


def test_arrays_of_steps_follow_the_same_rules():
    y = np.concatenate([[0, 0, 0, 1, 1, 1], [2, 2, 2, 0, 2, 2]])
    windows = Windows(np.arange(12.0), 3, 3, by=[0] * 6 + [1] * 6, y=y, label="onset", onset=1, class_names=NAMES)
    assert labels_of(windows) == {"0@0": "ok", "1@0": "wear"}
    with pytest.raises(ArgumentError, match="'majority' for soft labels"):
        Windows(np.arange(4.0), 2, y=[[0.5, 0.5]] * 4, label="majority")


def test_metadata_of_the_records():
    runs = Stepped([0, 0, 0], [1, 1, -1], metadata=pl.DataFrame({"well": ["a", "b"]}))
    windows = Windows(runs, 1)
    assert windows.metadata["well"].to_list() == ["a", "a", "a", "b", "b"]


def test_without_labels_every_window_is_made():
    windows = Windows(RUNS, 3, 3, label=None)
    assert windows.labels is None
    assert windows.class_names == ()
    assert len(windows) == 4 + 2
    assert Windows(np.zeros(4), 2, y=[0, 1, 0, 1], label=None).labels is None


def test_no_window_is_left():
    with pytest.raises(DataError, match="3 windows, none of which has a label by label='last'"):
        Windows(Stepped([0, -1], [1, -1], [-1, -1]), 2)
