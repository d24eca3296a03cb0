"""Doubtful labels: planted errors are found, an interrupted search continues, and weights use the same folds."""

import json
import os

import numpy as np
import polars as pl
import pytest

import tailfit
from tailfit.cli import main
from tailfit.errors import ArgumentError, CheckpointError, DataError
from tailfit.recipes import find_suspects, list_runs, load_recipe, train
from tailfit.recipes.objects import training_batches
from tailfit.recipes.out_of_fold import out_of_fold, quality_weights
from tailfit.recipes.parts import open_parts
from tailfit.resume.lock import Lock
from tailfit.weights import label_quality

pytestmark = [
    pytest.mark.above_training,
    pytest.mark.filterwarnings("ignore::tailfit.data.DataWarning"),  # of the class that is in one group
]

NAMES = np.array(["leak", "ok", "stuck"])
WRONG = (3, 40, 77)


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """Data with three wrong labels, with groups, metadata and a class that is in one group only."""
    root = tmp_path_factory.mktemp("suspects")
    rng = np.random.default_rng(0)
    y = np.where(np.arange(120) < 114, np.arange(120) % 2, 2)
    x = rng.normal(5.0 * np.eye(3)[y], 1, size=(120, 3)).astype("float32")
    y[list(WRONG)] = 1 - y[list(WRONG)]
    well = np.where(np.arange(120) < 114, np.arange(120) // 10, 99)
    columns = {name: x[:, k] for k, name in enumerate(("flow", "heat", "hum"))}
    ids = [f"s{k}" for k in range(120)]
    table = {"id": ids, **columns, "cause": NAMES[y], "well": [f"w{k}" for k in well]}
    pl.DataFrame(table).write_parquet(root / "pumps.parquet")
    return root


def recipe_of(home, **keys):
    data = {
        "path": str(home / "pumps.parquet"),
        "options": {"label": "cause"},
        "group": "well",
        "train_only": "well = 'w99'",
        "split": {"train": 0.7, "validation": None, "test": 0.3},
    }
    network = {"name": "mlp", "units": [4]}
    return {"data": data, "network": network, "epochs": 15, "optimizer": {"learning_rate": 0.05}, **keys}


@pytest.fixture(scope="module")
def found(home):
    return find_suspects(recipe_of(home, log=["tensorboard"]), home / "suspects", folds=3)


def test_planted_errors_are_first(home, found):
    assert found.table["id"].to_list()[:3] == found.found["id"].to_list()[:3]
    assert set(found.table["id"].to_list()[:3]) == {f"s{k}" for k in WRONG}
    row = found.table.row(0, named=True)
    assert {row["given"], row["likely"]} == {"leak", "ok"}
    assert row["p likely"] > row["quality"]
    assert row["well"] == row["group"]
    # All samples are judged, except the class that is in one group.
    assert (found.table.height, found.unjudged) == (114, {"stuck": 6})
    assert set(found.table["part"].unique()) == {"train", "test"}
    np.testing.assert_allclose(found.probabilities.sum(axis=1), 1)
    assert found.table["quality"].is_sorted()


def test_files(home, found):
    folder = home / "suspects"
    written = pl.read_csv(folder / "suspects.csv")
    assert written["id"].to_list() == found.found["id"].to_list()
    assert pl.read_parquet(folder / "quality.parquet").equals(found.table)
    page = (folder / "suspects.html").read_text()
    assert "of 114 labels are probably wrong" in page
    assert "6 of stuck" in page
    assert json.loads(found.to_json())["suspects"][0]["id"] == found.table["id"][0]
    assert not (folder / "fold-1-of-3" / "tensorboard").exists()
    assert list_runs(home).select("run", "kind", "state").rows() == [("suspects", "suspects", "done")]
    assert list_runs(home, members=True).height == 4


def test_no_fold_was_trained_on_the_group_of_a_sample_that_it_judges(home):
    recipe = load_recipe(recipe_of(home))
    parts = open_parts(recipe)
    seen = []

    def look(fold, of_fold, place, *, progress=None):
        assert of_fold.correction is None
        alone = fold.train.class_names.index("stuck")
        wells = {fold.train.group_names[k] for k in fold.train.groups}
        judged = {fold.test.group_names[k] for k in fold.test.groups}
        assert not wells & judged
        assert (fold.train.class_counts > 0).all()
        assert not (np.asarray(fold.test.labels) == alone).any()
        names = [f"score {name}" for name in fold.train.class_names]
        scores = np.tile([1.0, 2.0, 0.0], (len(fold.test), 1))
        place.mkdir(parents=True)
        table = pl.DataFrame({"id": fold.test.ids}).hstack(pl.DataFrame(scores, schema=names))
        table.write_parquet(place / "predictions.parquet")
        seen.extend(fold.test.ids[: len(fold.test) - len(parts.test)])

    result = out_of_fold(recipe, parts, home / "looked", 3, look)
    assert sorted(seen) == sorted(id for id in parts.train.ids if int(id[1:]) < 114)
    assert result.judged.sum() == 114
    weighted = load_recipe(recipe_of(home, weights="label_quality", sample_weight={"leak": 3.0}))
    quality = quality_weights(weighted, parts, home / "looked again", look)
    rows = result.probabilities[: len(parts.train)]
    judged = ~np.isnan(rows[:, 0])
    expected = label_quality(np.asarray(parts.train.labels)[judged], rows[judged], adjusted=True)
    assert len(rows) == len(parts.train)
    assert quality[~judged].tolist() == [1.0] * 6
    # Five folds are divided differently, but these probabilities are the same for every sample.
    np.testing.assert_allclose(quality[judged], expected / expected.mean(), rtol=1e-6)
    leak = np.asarray(parts.train.labels) == 0
    batches = training_batches(weighted, parts, quality)
    _, y, w = batches[0]
    assert w.shape == y.shape
    np.testing.assert_allclose(batches.class_counts[0], 3 * quality[leak].sum(), rtol=1e-5)


class StoppedError(BaseException):
    """Stops a training at any place, as a signal does."""


def test_an_interrupted_search_continues(home, found, tmp_path):
    trained = []

    def stop(fold, epoch, figures):
        trained.append((fold, epoch))
        if (fold, epoch) == (2, 5):
            raise StoppedError

    with pytest.raises(StoppedError):
        find_suspects(recipe_of(home), tmp_path / "s", folds=3, progress=stop)
    assert sorted(os.listdir(tmp_path / "s")) == ["fold-1-of-3", "fold-2-of-3", "lock"]
    assert list_runs(tmp_path)["state"].to_list() == ["ended"]
    trained.clear()
    again = find_suspects(
        recipe_of(home), tmp_path / "s", folds=3, progress=lambda fold, epoch, figures: trained.append((fold, epoch))
    )
    assert trained[0][0] == 2
    assert again.table.equals(found.table)
    trained.clear()
    page = tmp_path / "s" / "fold-1-of-3" / "report.html"
    whole = page.read_bytes()
    page.unlink()  # a process that was killed after the result of the fold, before its page
    find_suspects(recipe_of(home), tmp_path / "s", folds=3, progress=lambda *each: trained.append(each))
    assert (page.read_bytes() == whole, trained) == (True, [])
    trained.clear()
    finished = find_suspects(recipe_of(home), tmp_path / "s", folds=3, progress=lambda *args: trained.append(args))
    assert (trained, finished.table.equals(found.table)) == ([], True)


def test_weights_of_a_run(home, tmp_path):
    calls = []
    keys = {"weights": {"scheme": "label_quality", "folds": 2}, "epochs": 3}
    recipe = recipe_of(home, **keys)
    run = train(recipe, tmp_path / "run", progress=lambda epoch, figures: calls.append((figures.get("fold"), epoch)))
    assert calls == [(fold, epoch) for fold in (1, 2, None) for epoch in (1, 2, 3)]
    assert sorted(os.listdir(tmp_path / "run" / "folds")) == ["fold-1-of-2", "fold-2-of-2"]
    calls.clear()
    train(recipe, tmp_path / "run", progress=lambda epoch, figures: calls.append(epoch))
    assert calls == []
    plain = train(recipe_of(home, epochs=3), tmp_path / "plain")
    assert not np.allclose(run.model.get_weights()[0], plain.model.get_weights()[0])


BAD = {
    "one fold": (lambda home, out: find_suspects(recipe_of(home), out, folds=1), ArgumentError, "folds=1"),
    "more folds than groups": (
        lambda home, out: find_suspects(recipe_of(home), out, folds=40),
        ArgumentError,
        "groups|folds",
    ),
    "unknown weights": (
        lambda home, out: find_suspects(recipe_of(home, weights="quality"), out),
        DataError,
        "weights: 'quality'",
    ),
    "adjusted twice": (
        lambda home, out: find_suspects(
            recipe_of(home, weights={"scheme": "label_quality", "method": "confident_joint", "adjusted": True}), out
        ),
        DataError,
        "confident_joint with adjusted: true",
    ),
    "another run": (
        lambda home, out: find_suspects(recipe_of(home, epochs=2, loss="Focal"), home / "suspects", folds=3),
        CheckpointError,
        "run of a different recipe",
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_input(name, home, found, tmp_path):
    call, kind, message = BAD[name]
    with pytest.raises(kind, match=message):
        call(home, tmp_path / "out")
    assert not (tmp_path / "out" / "suspects.csv").exists()


def test_a_directory_in_use(home, tmp_path):
    (tmp_path / "s").mkdir()
    lock = Lock(tmp_path / "s")
    with pytest.raises(CheckpointError, match="another run is at work"):
        find_suspects(recipe_of(home), tmp_path / "s")
    lock.release()


def test_the_command(home, found, tmp_path, monkeypatch, capsys):
    def run(*arguments):
        monkeypatch.setattr("sys.argv", ["tailfit", "suspects", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            main()
        return ended.value.code

    (tmp_path / "pumps.yaml").write_text(json.dumps(recipe_of(home)))
    out = home / "suspects"
    assert run(tmp_path / "pumps.yaml", "--out", out, "--folds", "3", "--top", "2") == 0
    said = capsys.readouterr().out
    assert found.table["id"][0] in said
    assert found.table["id"][2] not in said
    assert "of 114 labels are probably wrong, the first 2 are shown" in said
    assert "Not judged, because all samples of the class are in one group: 6 of stuck" in said
    assert "\nNext:\n" in said
    assert "\n  tailfit train " in said
    assert run(tmp_path / "pumps.yaml", "--out", out, "--folds", "3", "--json") == 0
    assert len(json.loads(capsys.readouterr().out)["suspects"]) == found.found.height
    assert run(tmp_path / "pumps.yaml", "--out", out, "--folds", "1") == 2


def test_recordings_are_judged_by_window(tmp_path):
    """Windows keep their record and first step, and a recording is not cut by a fold."""
    rng = np.random.default_rng(0)
    (tmp_path / "wells").mkdir()
    for k in range(12):
        label = np.repeat([0, 1], 6)
        table = {"timestamp": np.arange(12.0), "flow": rng.normal(4.0 * label), "class": label}
        pl.DataFrame(table).write_parquet(tmp_path / "wells" / f"w{k}.parquet")
    classes = {"ok": [0], "leak": [1]}
    data = {
        "path": str(tmp_path / "wells"),
        "label": "class",
        "classes": classes,
        "windows": {"length": 3},
        "split": {},
    }
    recipe = {"data": data, "network": {"name": "mlp", "units": [2]}, "epochs": 1}
    found = find_suspects(recipe, tmp_path / "s", folds=2)
    assert found.table.height == 48
    assert {"record", "start"} <= set(found.table.columns)


def test_metadata_with_the_names_of_columns_is_left_out(tmp_path):
    x = np.random.default_rng(0).normal(size=(40, 2)).astype("float32")
    y = NAMES[np.arange(40) % 2]
    metadata = pl.DataFrame({"id": [str(k) for k in range(40)], "given": ["x"] * 40, "site": ["B"] * 40})
    tailfit.data.save_npy_folder(tmp_path / "pumps", x, y)
    metadata.write_csv(tmp_path / "pumps" / "metadata.csv")
    data = {"path": str(tmp_path / "pumps"), "split": {}}
    found = find_suspects(
        {"data": data, "network": {"name": "mlp", "units": [2]}, "epochs": 1}, tmp_path / "s", folds=2
    )
    assert set(found.table["given"].unique()) == {"leak", "ok"}
    assert found.table["site"].unique().to_list() == ["B"]
