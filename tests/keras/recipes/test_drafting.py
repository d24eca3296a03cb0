"""Recipes that `tailfit init` drafts: they fit the data, and train as written."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest

import tailfit
from tailfit.cli.drafting import run_init
from tailfit.errors import DataError
from tailfit.recipes import load_recipe, train
from tailfit.recipes.document import parse
from tailfit.recipes.drafting import _network, draft_recipe

pytestmark = pytest.mark.above_training

RNG = np.random.default_rng(0)
Y = np.array(["ok"] * 70 + ["leak"] * 20 + ["stuck"] * 10)


def drafted(data, folder, **options):
    """Draft a recipe, and load it."""
    text = draft_recipe(str(data), folder, options=options)
    return text, load_recipe(parse(text.encode()), folder=folder)


def flat(folder):
    return tailfit.data.save_npy_folder(folder / "d", RNG.normal(size=(100, 3)).astype("float32"), Y)


def series(folder):
    x = RNG.normal(size=(100, 20, 3)).astype("float32")
    x[5, 3, 1] = np.nan
    tailfit.data.save_npy_folder(folder / "d", x, Y)


def long_series(folder):
    tailfit.data.save_npy_folder(folder / "d", RNG.normal(size=(100, 64, 2)).astype("float32"), Y)


def table(folder, **more):
    columns = {"flow": RNG.normal(size=100), "heat": RNG.normal(size=100), "cause": Y, **more}
    pl.DataFrame(columns).write_parquet(folder / "d")
    (folder / "d").rename(folder / "d.parquet")


def with_wells(folder):
    table(folder, well=[f"w{k % 10}" for k in range(100)], serial=[f"s{k}" for k in range(100)])


def test_the_draft_fits_the_data(tmp_path):
    flat(tmp_path)
    text, recipe = drafted(tmp_path / "d", tmp_path)
    assert (recipe.data.path, recipe.network.name, recipe.loss.name) == ("d", "mlp", "LogitAdjusted")
    assert "imbalance ratio 7" in text
    assert {"plain", "adjusted"} <= recipe.compare.vary.keys()


def test_a_recipe_in_a_new_folder_or_behind_a_link(tmp_path, monkeypatch):
    flat(tmp_path)
    (tmp_path / "deep" / "real").mkdir(parents=True)
    (tmp_path / "link").symlink_to(tmp_path / "deep" / "real")
    monkeypatch.chdir(tmp_path)
    for place in ("new/folder", "link"):
        run_init("d", Path(place, "d.yaml"), [])
        recipe = load_recipe(f"{place}/d.yaml")
        assert (tmp_path / place / recipe.data.path).resolve() == (tmp_path / "d").resolve()
        assert not list((tmp_path / place).glob(".*"))


def test_series_with_missing_readings(tmp_path):
    series(tmp_path)
    _, recipe = drafted(tmp_path / "d", tmp_path)
    assert (recipe.network.name, recipe.data.fill_missing) == ("cnn", "forward")


def test_the_network_sees_the_whole_of_long_series(tmp_path):
    long_series(tmp_path)
    _, recipe = drafted(tmp_path / "d", tmp_path)
    assert recipe.network.name == "minirocket"
    shapes = ((64, 2), (63, 2), (3,), (8, 8, 3), None)
    assert [_network(shape, 20_001)[0] for shape in shapes] == ["cnn", "cnn", "mlp", "cnn", "cnn"]


def test_columns_of_labels_ids_and_groups_are_found(tmp_path):
    with_wells(tmp_path)
    text, recipe = drafted(tmp_path / "d.parquet", tmp_path)
    assert (recipe.data.label, recipe.data.options, recipe.data.group) == ("cause", {"id": "serial"}, "well")
    assert "others: well" in text
    pl.DataFrame({"flow": RNG.normal(size=100), "kind": Y, "sort": Y}).write_csv(tmp_path / "two.csv")
    with pytest.raises(DataError, match=r"columns: 'kind', 'sort'.*-o label="):
        drafted(tmp_path / "two.csv", tmp_path)
    assert drafted(tmp_path / "two.csv", tmp_path, label="sort")[1].data.label == "sort"


def recordings(folder):
    (folder / "d").mkdir()
    wells = []
    for k in range(24):
        steps = 40 + k
        state = np.where(np.arange(steps) > 20, k % 3, 0)
        times = np.datetime64("2020-01-01", "ms") + 1000 * np.arange(steps)
        columns = {"timestamp": times, "flow": RNG.normal(state), "class": [("leak", "ok", "stuck")[c] for c in state]}
        pl.DataFrame(columns).write_parquet(folder / "d" / f"r{k:02d}.parquet")
        wells.append({"id": f"r{k:02d}", "well": f"w{k % 8}"})
    pl.DataFrame(wells).write_csv(folder / "d" / "runs.csv")


def test_recordings_get_windows_and_groups(tmp_path):
    recordings(tmp_path)
    text, recipe = drafted(tmp_path / "d", tmp_path)
    assert (recipe.data.windows.length, recipe.data.windows.stride) == (32, 16)
    assert (recipe.data.group, recipe.data.label) == ("well", None)
    assert "label: last, or majority" in text


def with_dead_sensor(folder):
    recordings(folder)
    for path in (folder / "d").glob("*.parquet"):
        pl.read_parquet(path).with_columns(dead=pl.lit(None, pl.Float64), heat=pl.col("flow") * 2).write_parquet(path)


def test_columns_without_a_reading_are_left_out(tmp_path):
    with_dead_sensor(tmp_path)
    text, recipe = drafted(tmp_path / "d", tmp_path)
    assert recipe.data.options == {"columns": ["flow", "heat"]}
    assert "columns without: dead, which never has a reading" in text
    assert recipe.data.fill_missing is None


@pytest.mark.parametrize("make", [flat, series, long_series, with_wells, recordings, with_dead_sensor])
def test_the_draft_trains_as_written(make, tmp_path):
    make(tmp_path)
    data = tmp_path / "d" if (tmp_path / "d").exists() else tmp_path / "d.parquet"
    text = draft_recipe(str(data), tmp_path).replace("epochs: 30", "epochs: 1")
    (tmp_path / "d.yaml").write_text(text)
    assert train(tmp_path / "d.yaml", tmp_path / "run").evaluation.class_names == ("leak", "ok", "stuck")


def test_a_folder_that_does_not_exist_is_created(tmp_path):
    with pytest.raises(DataError):
        draft_recipe(str(tmp_path / "nothing"), tmp_path / "new")
    assert not (tmp_path / "new").exists()
    flat(tmp_path)
    _, recipe = drafted(tmp_path / "d", tmp_path / "new" / "deep")
    assert recipe.data.path == "../../d"


def test_names_that_look_like_yaml_or_commands(tmp_path):
    folder = tmp_path / "a: #{b}\x1b"
    names = np.where(Y == "ok", "yes: \x1b[2J #", Y)
    tailfit.data.save_npy_folder(folder, RNG.normal(size=(100, 3)).astype("float32"), names)
    text, recipe = drafted(folder, tmp_path)
    assert "\x1b" not in text
    assert recipe.data.path == folder.name


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda folder: None, "no such file"),
        (lambda folder: np.save(folder / "d.npy", np.zeros((4, 2))), "labels"),
        (lambda folder: tailfit.data.save_npy_folder(folder / "d", np.zeros((4, 2)), ["a"] * 4), "1 classes"),
        (lambda folder: pl.DataFrame({"x": [1.0, 2.0]}).write_parquet(folder / "d.parquet"), "labels"),
    ],
)
def test_data_without_a_recipe(make, message, tmp_path):
    make(tmp_path)
    data = next(iter(tmp_path.iterdir()), tmp_path / "nothing")
    with pytest.raises(DataError, match=message):
        draft_recipe(str(data), tmp_path)
