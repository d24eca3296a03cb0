"""The table of runs and comparisons: states, figures, conditions, and damaged or hostile directories."""

import json
import os
import subprocess
import sys

import pytest
from support.odd_files import KINDS, no_longer_than

from tailfit.errors import ArgumentError, DataError
from tailfit.evaluation import comparison, evaluate
from tailfit.recipes.listing import list_runs
from tailfit.resume.lock import Lock, is_locked

RECIPE = {"data": {"path": "faults"}, "name": None, "loss": {"name": "Focal"}}


def run_in(place, *, name=None, predicted=(0, 0, 1, 1), finished=True):
    """Write the files of a run that a listing reads."""
    place.mkdir(parents=True)
    fields = {"recipe": {**RECIPE, "name": name}, "folder": "/", "backend": "jax", "data": {}}
    (place / "run.json").write_text(json.dumps({"format": "tailfit.run", "version": 2, **fields}))
    (place / "lock").touch()
    os.utime(place / "run.json", (1e9, 1e9))
    if finished:
        evaluate([0, 0, 1, 1], list(predicted)).save_json(place / "evaluation.json")
        (place / "result.json").write_text("{}")
        os.utime(place / "result.json", (1e9 + 60, 1e9 + 60))
    return place


@pytest.fixture
def home(tmp_path):
    run_in(tmp_path / "good", name="good")
    run_in(tmp_path / "deep" / "er" / "worse", predicted=(0, 1, 1, 1))
    run_in(tmp_path / "killed", finished=False)
    for remedy in ("00-plain", "01-focal"):
        run_in(tmp_path / "compared" / remedy / "seed-0", name=remedy)
    (tmp_path / "compared" / "lock").touch()
    return tmp_path


def test_states_figures_and_times(home):
    lock = Lock(home / "killed")
    table = list_runs(home)
    rows = {row["run"]: row for row in table.to_dicts()}
    assert {name: row["state"] for name, row in rows.items()} == {
        "good": "done",
        os.path.join("deep", "er", "worse"): "done",
        "killed": "running",
        "compared": "ended",
    }
    lock.release()
    good = rows["good"]
    assert (good["name"], good["data"], good["seconds"], good["balanced_accuracy"]) == ("good", "faults", 60.0, 1.0)
    assert good["balanced_accuracy_low"] < 1.0
    assert rows[os.path.join("deep", "er", "worse")]["name"] == "Focal"
    assert list_runs(home / "good")["state"].to_list() == ["done"]
    assert list_runs(home, where="kind = 'run' AND state = 'ended'")["run"].to_list() == ["killed"]
    assert list_runs(home, sort="-balanced_accuracy")["run"][0] == "good"
    assert list_runs(home, members=True).height == 6


def test_a_finished_comparison(home):
    one, two = evaluate([0, 0, 1, 1], [0, 1, 1, 1]), evaluate([0, 0, 1, 1], [0, 0, 1, 1])
    comparison({"plain": [one, one], "focal": [two, two]}).save_json(home / "compared" / "comparison.json")
    (row,) = list_runs(home, where="kind = 'comparison'").to_dicts()
    assert (row["state"], row["name"], row["balanced_accuracy"]) == ("done", "2 remedies, 2 seeds", 0.75)
    assert row["verdicts"].startswith("focal: ")


def test_a_listing_changes_nothing_and_blocks_nobody(home):
    before = {path: path.stat().st_mtime_ns for path in home.rglob("*")}
    list_runs(home, members=True)
    assert {path: path.stat().st_mtime_ns for path in home.rglob("*")} == before
    with_lock = Lock(home / "good")
    assert is_locked(home / "good")
    with_lock.release()
    assert not is_locked(home / "good")
    assert not is_locked(home)  # without a file


@pytest.mark.parametrize("file", ["run.json", "evaluation.json"])
@pytest.mark.parametrize("content", ["", "{", "[]", '{"format": "tailfit.run", "version": 2}', "9" * 5000])
def test_damaged_runs_are_rows(file, content, home):
    (home / "good" / file).write_text(content)
    rows = {row["run"]: row for row in list_runs(home).to_dicts()}
    assert (rows["good"]["state"], len(rows)) == ("damaged", 4)
    assert file in rows["good"]["problem"]


BEYOND = {"baseline": "a", "seeds": [0], "verdicts": {}, "figures": {"a": {"accuracy": {"value": 10**400}}}}


@pytest.mark.parametrize(
    "content",
    [
        '{"format": "tailfit.comparison", "version": 1}',
        "null",
        json.dumps({"format": "tailfit.comparison", "version": 2, **BEYOND}),
    ],
    ids=len,
)
def test_damaged_comparisons_are_rows(content, home):
    (home / "compared" / "comparison.json").write_text(content)
    (row,) = list_runs(home, where="kind = 'comparison'").to_dicts()
    assert (row["state"], "comparison.json" in row["problem"]) == ("damaged", True)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("file", ["run.json", "evaluation.json", "lock"])
def test_files_that_are_not_regular(kind, file, home):
    (home / "good" / file).unlink()
    KINDS[kind](home / "good" / file)
    with no_longer_than(20):
        rows = {row["run"]: row["state"] for row in list_runs(home).to_dicts()}
    assert rows.get("good", "damaged") in ("damaged", "done")


def test_links_are_not_followed_and_depth_is_bounded(home):
    (home / "loop").symlink_to(home)
    run_in(home.joinpath(*"123456789a") / "far")
    assert list_runs(home).height == 4


@pytest.mark.parametrize(
    ("options", "kind", "message"),
    [
        ({"sort": "speed"}, ArgumentError, "sort='speed'"),
        ({"where": "speed > 1"}, ArgumentError, "unknown column 'speed'"),
        ({"where": "SELECT 1"}, ArgumentError, "SELECT"),
        ({"where": "1"}, ArgumentError, "condition"),
    ],
)
def test_bad_options(options, kind, message, home):
    with pytest.raises(kind, match=message):
        list_runs(home, **options)


def test_no_folder(tmp_path):
    with pytest.raises(DataError, match="no such folder"):
        list_runs(tmp_path / "nothing")


def test_the_command_needs_no_keras_and_prints_escapes(home):
    hostile = run_in(home / "a\x1b[2Jb", name="\x1b]0;title\x07")
    (hostile / "evaluation.json").write_text("{")
    code = "import sys\nfrom tailfit.cli import main\ntry: main()\nfinally: assert 'keras' not in sys.modules"
    command = [sys.executable, "-c", code, "runs", str(home)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120)
    assert "\x1b" not in done.stdout
    assert "\\x1b[2Jb" in done.stdout
    assert "damaged" in done.stdout
    done = subprocess.run([*command, "--json"], capture_output=True, text=True, check=True, timeout=120)
    assert len(json.loads(done.stdout)) == 5
