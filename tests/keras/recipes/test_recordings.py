"""Recipes of recordings: groups stay in one part, windows follow the labels of steps, predictions name their groups."""

import json

import numpy as np
import polars as pl
import pytest

import tailfit
from tailfit.data import Windows
from tailfit.errors import ArgumentError, DataError
from tailfit.recipes import evaluate_run, load_recipe, predict, train
from tailfit.recipes.data_identity import describe_change, identity_of_data
from tailfit.recipes.parts import open_parts

pytestmark = pytest.mark.above_training

WELLS = ["w1", "w1", "w2", "w2", "w3", "w3", "w4", "w5", "sim", "sim"]
DATA = {
    "path": "runs",
    "group": "well",
    "classes": {"normal": [0], "leak": [1]},
    "drop": [101],
    "windows": {"length": 4, "stride": 2},
    "split": {"train": 0.6, "validation": 0.2, "test": 0.2},
    "fill_missing": {"method": "forward", "mask": True},
}


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """Ten recordings of five real wells and a simulator: normal, a transient, a leak."""
    root = tmp_path_factory.mktemp("home")
    (root / "runs").mkdir()
    rng = np.random.default_rng(0)
    for run, well in enumerate(WELLS):
        labels = np.repeat([0, 101, 1], [12, 3, 12 + run])
        table = {"flow": rng.normal(labels == 1), "class": labels}
        if well != "w2":  # a sensor that this well lacks
            table["heat"] = rng.normal(size=len(labels))
        pl.DataFrame(table).write_parquet(root / "runs" / f"run{run}.parquet")
    runs = {"run": [f"run{run}" for run in range(10)], "well": WELLS, "source": ["real"] * 8 + ["simulated"] * 2}
    pl.DataFrame(runs).write_csv(root / "runs" / "runs.csv")
    return root


def recipe(home, data=(), **changes):
    return load_recipe(
        {"data": {**DATA, **dict(data)}, "network": {"name": "mlp", "units": [4]}, **changes}, folder=home
    )


def parts_of(home, **data):
    parts = open_parts(recipe(home, data))
    return {"train": parts.train, "validation": parts.validation, "test": parts.test}


def wells_of(part):
    return set(part.metadata["well"])


def test_a_well_is_in_one_part_and_dropped_steps_label_no_window(home):
    parts = parts_of(home)
    assert sum(len(wells_of(part)) for part in parts.values()) == len(set(WELLS))
    for part in parts.values():
        assert part.class_names == ("normal", "leak")
        assert part.group_names == ("sim", "w1", "w2", "w3", "w4", "w5")
        assert not {12, 13, 14} & set(part.metadata["start"] + 3)  # the steps of the transient
        assert part.read([0]).shape == (1, 4, 4)  # two sensors, each with a mask
    only_records = parts_of(home, group=None)
    assert any(wells_of(only_records["train"]) & wells_of(only_records[name]) for name in ("validation", "test"))
    assert set(only_records["train"].metadata["record"]).isdisjoint(only_records["test"].metadata["record"])


def test_rules_of_labels(home):
    onset = parts_of(home, windows={"length": 4, "stride": 1, "label": "onset", "onset": 2})
    assert max((part.metadata["start"] + 3).max() for part in onset.values()) == 16  # the leak begins at step 15
    assert len(parts_of(home, windows={"length": 9, "label": "any:leak"})["train"])


def test_samples_that_are_for_training_only(home):
    whole = Windows(tailfit.data.open(home / "runs", classes=DATA["classes"], drop=[101]), 4, 2)
    for seed in range(4):
        parts = parts_of(home, train_only="source != 'real'", split={**DATA["split"], "seed": seed})
        assert "sim" in wells_of(parts["train"])
        assert sum(len(wells_of(part)) for part in parts.values()) == len(set(WELLS))
        assert parts["train"].ids == tuple(name for name in whole.ids if name in set(parts["train"].ids))


def test_a_partition_lists_recordings(home):
    ids = {"train": [f"run{run}" for run in range(6)], "test": ["run6", "run8", "run9"]}
    (home / "partition.json").write_text(json.dumps(ids))
    parts = parts_of(home, partition="partition.json", split=None)
    assert parts["validation"] is None
    assert set(parts["test"].metadata["record"]) == set(ids["test"])
    (home / "cut.json").write_text(json.dumps({"train": ids["train"] + ["run8"], "test": ["run9"]}))
    with pytest.raises(DataError, match=r"the group 'sim' \(by well\) in the partitions"):
        parts_of(home, partition="cut.json", split=None)


BAD = {
    "recordings without windows": ({"windows": None}, DataError, "runs with a label per step"),
    "any unknown class": (
        {"windows": {"length": 4, "label": "any:lek"}},
        ArgumentError,
        "windows: label='any:",
    ),
    "windows longer than every recording": ({"windows": {"length": 400}}, DataError, "10 records of up to 36 steps"),
    "an unknown column of groups": ({"group": "site"}, ArgumentError, "data.group: by='site'"),
    "more parts than groups": ({"group": "source"}, ArgumentError, r"2 groups \(by source\) for 3 parts"),
    "a condition on no column": ({"train_only": "site = 'x'"}, ArgumentError, r"data.train_only: the condition"),
    "a condition that cuts a group": (
        {"train_only": "record = 'run8'"},
        DataError,
        "only some samples of the group 'sim'",
    ),
    "a condition that matches nothing": ({"train_only": "source = 'drawn'"}, DataError, "matches none of the"),
}


@pytest.mark.parametrize("name", BAD)
def test_unsuitable_data(home, name):
    data, error, received = BAD[name]
    with pytest.raises(error, match=received):
        parts_of(home, **data)


BAD_KEYS = {
    "onset without steps": (
        {"windows": {"length": 4, "label": "onset"}},
        "data.windows: label='onset' with onset=None",
    ),
    "an unknown rule": ({"windows": {"length": 4, "label": "middle"}}, "data.windows: label='middle'"),
    "a partition with train_only": ({"split": None, "partition": "p", "train_only": "x = 1"}, "both partition and"),
    "the label twice": ({"label": "class", "options": {"label": "class"}}, "label both in data and in data.options"),
    "the group as an option": ({"options": {"group": "well"}}, "options with 'group'"),
    "a class without a list": ({"classes": {"leak": 1}}, r"classes.leak: 1"),
}


@pytest.mark.parametrize("name", BAD_KEYS)
def test_invalid_keys(home, name):
    data, received = BAD_KEYS[name]
    with pytest.raises(DataError, match=received):
        recipe(home, data)


def test_the_identity_covers_recordings_and_their_metadata(home, tmp_path):
    before = identity_of_data(recipe(home))
    assert before["count"] == 11
    runs = (home / "runs" / "runs.csv").read_text()
    (home / "runs" / "runs.csv").write_text(runs.replace("simulated", "simulatee"))
    assert describe_change(before, identity_of_data(recipe(home))) == "different contents"
    (home / "runs" / "runs.csv").write_text(runs)


def test_training_and_evaluation_know_the_groups(home, tmp_path):
    with pytest.raises(ArgumentError, match=r"events\.normal: 'ok'"):
        train(recipe(home, epochs=1, events={"normal": "ok"}), tmp_path / "refused")
    run = train(
        recipe(
            home,
            {"train_only": "source != 'real'"},
            epochs=1,
            sample_weight={"source = 'simulated'": 0.3},
            events={"alarm_after": 2},
        ),
        tmp_path / "run",
    )
    assert set(run.evaluation.groups.names) <= {"w1", "w2", "w3", "w4", "w5"}
    table = pl.read_parquet(tmp_path / "run" / "predictions.parquet")
    assert table.columns[:6] == ["id", "group", "record", "start", "label", "predicted"]
    assert table["id"].to_list() == [f"{record}@{start}" for record, start in table.select("record", "start").rows()]
    assert evaluate_run(tmp_path / "run") == run.evaluation
    events = run.evaluation.events  # each recording is normal, and then leaks
    assert (events.normal, events.alarm_after, len(events.events)) == ("normal", 2, events.recordings)
    assert set(events.events["group"]) == set(run.evaluation.groups.names)
    slices = {each.value: each for each in run.evaluation.slices["source"]}
    parts = parts_of(home, train_only="source != 'real'")
    assert {value: each.train for value, each in slices.items()} == {
        value: int((parts["train"].metadata["source"] == value).sum()) for value in ("real", "simulated")
    }
    assert (slices["real"].test, slices["simulated"].test) == (len(parts["test"]), 0)
    page = (tmp_path / "run" / "report.html").read_text()
    assert "Events" in page
    assert page.count("readings of run") == len(
        json.loads((tmp_path / "run" / "pictures.json").read_text())["pictures"]
    )
    whole = tailfit.data.open(home / "runs", classes=DATA["classes"], drop=[101])
    predicted = predict(tmp_path / "run", whole).table
    assert predicted.columns[:4] == ["id", "record", "start", "predicted"]
    assert 10 in predicted["start"]  # windows of dropped steps, too: labels are not read
    assert predicted["id"].to_list() == list(Windows(whole, 4, 2, label=None).ids)
    unlabelled = tmp_path / "new"  # a folder that only the run knows to be recordings
    unlabelled.mkdir()
    for path in sorted((home / "runs").glob("*.parquet"))[:2]:
        pl.read_parquet(path).drop("class").write_parquet(unlabelled / path.name)
    fresh = predict(tmp_path / "run", unlabelled).table
    known = predicted.filter(pl.col("record").is_in(fresh["record"].unique().to_list()))
    assert fresh["id"].to_list() == known["id"].to_list()
    np.testing.assert_allclose(fresh["confidence"], known["confidence"], atol=1e-5)
