"""`compare` in folds: each sample is tested and validated once, the choice is made in each fold, and runs continue."""

import json
import shutil
from itertools import chain

import numpy as np
import polars as pl
import pytest
from support.comparisons import files

import tailfit
from tailfit.errors import ArgumentError, CheckpointError
from tailfit.evaluation import Comparison
from tailfit.recipes import load_recipe
from tailfit.recipes.parts import fold_partitions, split_parts

RECIPE = {
    "data": {"path": "pumps", "group": "pump", "split": {"train": 0.6, "validation": 0.2, "test": 0.2}},
    "network": {"name": "mlp", "units": [4]},
    "optimizer": {"learning_rate": 0.05},
    "epochs": 1,
    "compare": {"seeds": 2, "vary": {"plain": {}, "adjusted": {"loss": "LogitAdjusted"}}},
}


@pytest.fixture
def pumps(tmp_path, monkeypatch):
    """Seventy-two samples of twelve pumps, half of which leak now and then."""
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    pump = np.arange(72) // 6
    y = ((pump % 2 == 0) & (np.arange(72) % 2 == 0)).astype(int)
    x = rng.normal(2.0 * y[:, None], size=(72, 3)).astype("float32")
    ids = [f"s{i:02d}" for i in range(72)]
    tailfit.data.save_npy_folder("pumps", x, np.array(["ok", "leak"])[y], ids=ids)
    table = pl.DataFrame({"id": ids, "pump": [f"pump {p}" for p in pump], "real": pump != 11})
    table.write_csv("pumps/metadata.csv")
    return tmp_path


def pumps_of(ids):
    return {int(each[1:]) // 6 for each in ids}


def check_folds(partitions, ids, always=()):
    """Each sample is in one test part and in one validation part, and no pump is in two parts."""
    for key in ("test", "validation"):
        assert sorted(each for partition in partitions for each in partition[key]) == sorted({*ids} - {*always})
    for partition in partitions:
        assert sorted(chain(*partition.values())) == sorted(ids)
        assert {*always} <= {*partition["train"]}
        train, validation, test = (pumps_of(partition[key]) for key in ("train", "validation", "test"))
        assert len(train | validation | test) == len(train) + len(validation) + len(test)


@pytest.mark.timeout(900)  # two dozen trainings, on a busy machine
@pytest.mark.mostly_on("torch")
def test_each_fold_is_chosen_and_tested_by_itself_and_continues_after_a_kill(pumps):
    (pumps / "pumps.json").write_text(json.dumps(RECIPE))
    planned, ended = [], []
    found = tailfit.compare(
        "pumps.json", folds=3, directory="out", planned=planned.append, run_ended=lambda *each: ended.append(each)
    )
    places = [pumps / "out" / f"fold-{number}-of-3" for number in (1, 2, 3)]
    partitions = [json.loads((place / "partition.json").read_text()) for place in places]
    check_folds(partitions, [f"s{i:02d}" for i in range(72)])
    folds = [Comparison.from_json((place / "comparison.json").read_text()) for place in places]
    expected = [(each.chosen, len(part["test"])) for each, part in zip(folds, partitions, strict=True)]
    assert list(found.nested.folds) == expected
    for part in ("evaluations", "validation"):
        for name in found.evaluations:
            for seed in (0, 1):
                joined = getattr(found, part)[name][seed]
                np.testing.assert_array_equal(
                    joined.y_pred, np.concatenate([getattr(each, part)[name][seed].y_pred for each in folds])
                )
                assert len(joined.groups) == 12
    assert "In each of the 3 folds, the choice was made again" in found.reason
    assert Comparison.from_json((pumps / "out" / "comparison.json").read_text()) == found
    assert planned[0].keys() == planned[-1].keys() == {run[:2] for run in ended}
    assert len(planned[0]) == 2 * 2 * 3
    # The recommended recipe has the split of the recipe again.
    assert load_recipe(pumps / "out" / "recommended.yaml").data.split is not None
    complete = files(pumps / "out")
    for place in places:  # all but the partitions: runs note when their data were written
        for each in place.iterdir():
            if each.is_dir():
                shutil.rmtree(each)
            elif each.name != "partition.json":
                each.unlink()

    def interrupt(remedy, seed, epoch, figures):
        if remedy == "adjusted, fold 2" and seed == 1:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        tailfit.compare("pumps.json", folds=3, directory="out", progress=interrupt)
    assert not (places[2] / "00-plain").exists()
    again = []
    tailfit.compare("pumps.json", folds=3, directory="out", progress=lambda *each: again.append(each[:2]))
    assert files(pumps / "out") == complete
    assert ("adjusted, fold 1", 1) not in again
    (pumps / "pumps.json").write_text(json.dumps({**RECIPE, "compare": {**RECIPE["compare"], "folds": 4}}))
    for options in ({}, {"folds": 4}):
        with pytest.raises(CheckpointError, match=r"fold-1-of-3 of a different comparison.*fold-4-of-4"):
            tailfit.compare("pumps.json", directory="out", **options)
    (pumps / "pumps.json").write_text(json.dumps(RECIPE))
    with pytest.raises(CheckpointError, match=r"fold-1-of-3 of a different comparison.*00-plain"):
        tailfit.compare("pumps.json", directory="out")


@pytest.mark.mostly_on("torch")
def test_folds_of_every_kind_of_split(pumps):
    def partitions(**data):
        return fold_partitions(load_recipe({**RECIPE, "data": {"path": "pumps", **data}}), 4, fetch=False)

    everything = [f"s{i:02d}" for i in range(72)]
    check_folds(partitions(group="pump"), everything)
    check_folds(partitions(split={"by": "pump"}), everything)
    always = [each for each in everything if pumps_of([each]) == {11}]
    check_folds(partitions(group="pump", train_only="real = false"), everything, always)
    some = [each for each in everything if pumps_of([each]) != {0}]
    named = {"train": some[:30], "validation": some[30:60], "test": some[60:]}
    (pumps / "named.json").write_text(json.dumps(named))
    check_folds(partitions(group="pump", partition="named.json"), some)
    assert partitions(group="pump", split={"seed": 1}) != partitions(group="pump")


@pytest.mark.mostly_on("torch")
def test_recordings_are_divided_as_a_whole(tmp_path):
    (tmp_path / "runs").mkdir()
    for run in range(9):
        table = {"flow": np.arange(20.0) + run, "class": np.repeat([0, 1], 10)}
        pl.DataFrame(table).write_parquet(tmp_path / "runs" / f"run{run}.parquet")
    data = {"path": "runs", "classes": {"ok": [0], "leak": [1]}, "windows": {"length": 4, "stride": 4}}
    recipe = load_recipe({"data": data}, folder=tmp_path)
    folds = fold_partitions(recipe, 3, fetch=False)
    for key in ("train", "validation", "test"):
        assert [len(each[key]) for each in folds] == [3, 3, 3]
    assert sorted(chain(*(each["test"] for each in folds))) == [f"run{run}" for run in range(9)]
    (tmp_path / "fold.json").write_text(json.dumps(folds[0]))
    parts = split_parts(load_recipe({"data": {**data, "partition": "fold.json"}}, folder=tmp_path), fetch=False)
    assert {name: sorted(set(part.metadata["record"])) for name, part in parts.items()} == {
        name: sorted(each) for name, each in folds[0].items()
    }


@pytest.mark.mostly_on("torch")
def test_what_can_not_be_divided_is_refused_before_training(pumps):
    def refused(match, folds=3, recipe=RECIPE, **options):
        with pytest.raises(ArgumentError, match=match):
            tailfit.compare(recipe, folds=folds, directory="out", **options)
        assert not list(pumps.glob("out/**/run.json"))

    refused(r"folds=2.*from 3", folds=2)
    refused(r"folds=True", folds=True)
    refused(r"budget=5 with folds=3.*leave out", budget=5)
    refused(r"folds=13 of 72 samples in 12 groups.*Fix: use data with more", folds=13)
    table = pl.read_csv("pumps/metadata.csv")
    leaking = pl.col("pump").str.contains("[02468]$")
    table.with_columns(pump=pl.when(leaking).then(pl.lit("yard")).otherwise("pump")).write_csv("pumps/metadata.csv")
    refused(r"folds=3 of 18 samples of the class 'leak' in 1 group\b.*more samples or groups")
