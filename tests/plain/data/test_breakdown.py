"""Classes by group, and classes that are in one group only, in samples and in steps of recordings."""

import warnings

import numpy as np
import polars as pl
import pytest

from tailfit.data import Arrays, DataWarning, Ragged, inspect
from tailfit.data.breakdown import breakdown, single_group_classes, warn_of_single_groups
from tailfit.errors import ArgumentError

RUNS = pl.DataFrame(
    {"well": ["a", "a", "b", "c", "c"], "source": ["real", "real", "real", "drawn", None], "depth": range(5)}
)
LABELS = ["ok", "leak", "ok", "wear", "wear"]


def source():
    return Arrays(np.zeros((5, 3)), LABELS, metadata=RUNS)


class Recorded(Arrays):
    """Recordings with labels of steps and missing readings."""

    keeps_missing = True
    channels = ("flow", "heat")
    _step_classes = ("ok", "leak")

    def step_labels(self, index):
        return np.array([[0, 0, -1], [0, 1], [0, 0, 0, 0]][index], np.int32)


def recordings():
    x = [np.ones((steps, 2), np.float32) for steps in (3, 2, 4)]
    x[0][:, 1] = np.nan
    x[2][0] = np.nan
    return Recorded(Ragged(x), ids=list("pqr"), nan="keep").grouped(["w1", "w2", "w1"])


def test_samples_of_each_class_by_group():
    grouped = source().grouped("well")
    table = breakdown(grouped, grouped.grouping)
    assert table.columns == ["group", "samples", "class leak", "class ok", "class wear"]
    assert table.rows() == [("a", 2, 1, 1, 0), ("c", 2, 0, 0, 2), ("b", 1, 0, 1, 0)]
    soft = Arrays(np.zeros(2), [[0.75, 0.25], [0.5, 0.5]]).grouped([0, 0])
    assert breakdown(soft, soft.grouping).rows() == [("0", 2, 1.25, 0.75)]
    several = Arrays(np.zeros(3), np.array([[1, 1], [1, 0], [1, 0]])).grouped(list("aab"))
    assert single_group_classes(several) == {"1": "a"}
    assert single_group_classes(grouped) == {"leak": "a", "wear": "c"}
    assert single_group_classes(source()) == {}
    assert single_group_classes(source().grouped([1] * 5)) == {}


def test_inspect_counts_by_groups_and_by_columns_of_names():
    found = inspect(source().grouped("well"))
    assert list(found.by) == ["well"]  # `source` lacks a value, `depth` is a number
    assert found.groups == 3
    assert dict(found.single_groups) == {"leak": "a", "wear": "c"}
    assert found.sensors is None
    assert list(inspect(source()).by) == ["well"]
    assert inspect(source(), by=["depth"]).by["depth"].height == 5
    with pytest.raises(ArgumentError, match="'site'"):
        inspect(source(), by=["site"])


def test_inspect_counts_steps_of_recordings_and_missing_sensors():
    found = inspect(recordings())
    assert found.by["keys"].rows() == [("w1", 2, 6, 0), ("w2", 1, 1, 1)]
    assert dict(found.single_groups) == {"leak": "w2"}
    assert found.classes["share"].to_list() == [7 / 8, 1 / 8]
    assert found.missing == ()
    assert found.sound
    assert found.sensors.rows() == [("flow", 0, 1 / 9), ("heat", 1, 4 / 9)]


def test_a_class_of_one_group_is_a_warning():
    with pytest.warns(DataWarning, match=r"training data .*: 'leak' \(in 'a'\), 'wear' \(in 'c'\)\. Expected"):
        warn_of_single_groups(source().grouped("well"), "training data")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warn_of_single_groups(source(), "training data")
