"""The page "Recordings, windows and groups": its examples run."""

import numpy as np
import polars as pl
from support.page_code import run
from support.paths import ROOT

import tailfit

PAGE = ROOT / "docs" / "recordings.md"


def test_each_example_runs(tmp_path):
    (tmp_path / "runs").mkdir()
    for number in range(12):
        labels = np.repeat([0, 101, 1], [40, 4, 40])
        pl.DataFrame({"flow": np.arange(84.0), "class": labels}).write_parquet(
            tmp_path / "runs" / f"run{number}.parquet"
        )
    runs = {"run": [f"run{run}" for run in range(12)], "well": list("aabbccddeeff"), "day": [1, 2] * 6}
    pl.DataFrame(runs).write_csv(tmp_path / "runs" / "runs.csv")
    known = {"tailfit": tailfit, "np": np}
    assert len(run(PAGE, tmp_path, known)) == 10
    assert known["windows"].group_names == tuple("abcdef")
    assert known["events"].recall == 1.0
    assert known["events"].unit == "steps"
    assert sum(each.test for each in known["evaluation"].slices["day"]) == len(known["test"])
    assert known["by_day"].group_names[:2] == ("a / 1", "a / 2")
