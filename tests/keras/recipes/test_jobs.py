"""`compare` with several jobs: the same bytes as in one process, also if workers die or a run fails."""

import json
import signal
import subprocess
import sys
import time
import warnings

import keras
import numpy as np
import pytest
from support.comparisons import files

import tailfit
from tailfit.data import DataWarning
from tailfit.errors import ArgumentError, CheckpointError, WorkerError
from tailfit.recipes import load_recipe, side_by_side
from tailfit.recipes.runs import RunOfComparison
from tailfit.recipes.transfer import (
    apply_keras_settings,
    described_modules,
    described_recipe,
    keras_settings,
    recipe_of,
)

pytestmark = [pytest.mark.above_training, pytest.mark.as_compiled]

RECIPE = {
    "data": {"path": "pumps", "split": {"train": 0.5, "validation": 0.25, "test": 0.25}},
    "network": {"name": "mlp", "units": [4], "dropout": 0.3},
    "metrics": ["BalancedAccuracy", "PerClassRecall"],
    "class_weight": {0: 1.0, 1: 3.0},
    "epochs": 2,
    "batch_size": 16,
}
FUNCTIONS = """
import os, pathlib, signal

def once(batch, rng, name, death):
    flag = pathlib.Path(name)
    if flag.exists():
        flag.unlink()
        if death:
            print("out of memory", flush=True)
            os.kill(os.getpid(), signal.SIGKILL)
        raise ValueError("no such pump")
    return batch
"""
VARY = {
    "plain": {},
    "killed": {"transform": {"function": "functions:once", "options": {"name": "kill", "death": True}}},
    "broken": {
        "loss": "Focal",
        "transform": {"function": "functions:once", "options": {"name": "raise", "death": False}},
    },
}


@pytest.fixture
def pumps(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    y = np.arange(60) % 3 % 2
    x = rng.normal(2.0 * y[:, None], size=(60, 3)).astype("float32")
    tailfit.data.save_npy_folder("pumps", x, np.array(["ok", "OK"])[y])  # names that are easily confused: a warning
    (tmp_path / "functions.py").write_text(FUNCTIONS)
    return tmp_path


@pytest.mark.mostly_on("torch")
def test_results_do_not_depend_on_jobs_deaths_and_failures(pumps):
    arguments = {"seeds": 2, "modules": ["functions.py"]}
    (pumps / "kill").touch()
    (pumps / "raise").touch()
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        with pytest.raises(
            WorkerError, match=r"broken, seed 0: .*ValueError: no such pump.*the other 5 runs are kept"
        ) as info:
            tailfit.compare(RECIPE, VARY, directory="two", jobs=2, **arguments)
    assert "flag.unlink()" not in str(info.value)
    assert 'raise ValueError("no such pump")' in "".join(info.value.__notes__)
    assert len([each for each in warned if issubclass(each.category, DataWarning)]) == 1  # not one of each worker
    assert not (pumps / "kill").exists()
    seen = []
    with pytest.warns(DataWarning):
        found = tailfit.compare(
            RECIPE, VARY, directory="two", jobs=5, progress=lambda *each: seen.append(each[:3]), **arguments
        )
    assert seen == [("broken", 0, 1), ("broken", 0, 2)]
    with pytest.warns(DataWarning):
        alone = tailfit.compare(RECIPE, VARY, directory="one", **arguments)
    assert found == alone
    one, two = files(pumps / "one"), files(pumps / "two")
    assert one.keys() == two.keys()
    assert [name for name in one if one[name] != two[name]] == []


# A worker that trains nothing: without Keras it starts in a moment.
DYING = """
import os, signal
from tailfit.processes.parent import Parent

parent = Parent()
parent.receive()
parent.send({"ready": True})
while (run := parent.receive()) is not None:
    if run["place"].endswith("killed"):
        print("out of memory", flush=True)
        os.kill(os.getpid(), signal.SIGKILL)
    parent.send({"done": True})
"""


def test_a_run_whose_worker_always_dies_is_given_up(monkeypatch, tmp_path):
    monkeypatch.setattr(side_by_side, "python_command", lambda module: [sys.executable, "-c", DYING])
    recipe, ended = load_recipe(RECIPE), []
    killed, *others = (RunOfComparison(name, recipe, tmp_path / name) for name in ("killed", "plain", "focal"))
    workers = side_by_side.Workers(2, {}, programs=None, inherited=(), progress=None, ended=ended.append)
    failed = workers.train([killed, *others])
    assert [run for run, _ in failed] == [killed]
    assert set(ended) == set(others)
    with pytest.raises(WorkerError, match=r"killed, seed 0: .*SIGKILL, for the 3rd.*the other 2 runs are kept") as info:
        side_by_side.raise_failures(failed, 3)
    assert info.value.__notes__ == ["out of memory"]


@pytest.mark.mostly_on("jax")
def test_sigterm_stops_all_workers_with_checkpoints(pumps):
    (pumps / "functions.py").write_text("import time\ndef slow(batch, rng):\n    time.sleep(0.5)\n    return batch\n")
    (pumps / "pumps.yaml").write_text(
        "data: {path: pumps}\nnetwork: {name: mlp, units: [4]}\nepochs: 1000\ntransform: {function: 'functions:slow'}\n"
        "compare: {seeds: 2, vary: {plain: {}, adjusted: {loss: LogitAdjusted}}}\n"
    )
    command = ["-m", "tailfit", "compare", "pumps.yaml", "--jobs", "2", "-m", "functions.py", "--out", "out"]
    code = "import sys; from tailfit.cli import main; sys.argv = sys.argv[2:]; main()"
    process = subprocess.Popen([sys.executable, "-c", code, *command], stderr=subprocess.PIPE, text=True)
    histories = [pumps / "out" / name / "seed-0" / "history.csv" for name in ("00-plain", "01-adjusted")]
    until = time.monotonic() + 200
    while time.monotonic() < until and not all(
        path.exists() and path.read_text().count("\n") > 1 for path in histories
    ):
        time.sleep(0.1)
    process.send_signal(signal.SIGTERM)
    said = process.communicate(timeout=100)[1]
    assert process.returncode == 143
    assert "To continue the run, use the same command" in said
    assert "Traceback" not in said
    for path in histories:
        steps = sorted(each.name for each in (path.parent / "checkpoints").iterdir() if each.name[0].isdigit())
        assert steps, "a checkpoint of each worker"


@pytest.mark.on_each
def test_settings_of_keras_and_its_backend_reach_other_processes():
    before = keras_settings()
    other = {**before, "floatx": "float64", "epsilon": 1e-5, "dtype_policy": "mixed_bfloat16"}
    changed = {"jax": {"jax_default_matmul_precision": "highest"}, "torch": {"default_dtype": "float64"}}
    other["backend"] = {**before["backend"], **changed.get(keras.backend.backend(), {})}
    if keras.backend.backend() == "tensorflow":  # threads can't be changed once it has computed
        other["backend"]["tensor_float_32"] = not before["backend"]["tensor_float_32"]
    try:
        apply_keras_settings(json.loads(json.dumps(other)))
        policy = {"module": "keras", "class_name": "DTypePolicy", "config": {"name": "mixed_bfloat16"}}
        assert {**keras_settings(), "dtype_policy": None} == {**other, "dtype_policy": None}
        assert keras.config.dtype_policy().name == policy["config"]["name"]
    finally:
        apply_keras_settings(before)
    assert keras_settings() == before


def test_recipes_reach_other_processes_unchanged(pumps):
    recipe = load_recipe({**RECIPE, **VARY["killed"], "sample_weight": {"ok": np.float32(2)}}, modules=["functions.py"])
    recipe = recipe.model_copy(update={"seed": 7, "name": "mine"})
    again = recipe_of(described_recipe(recipe), recipe.modules)
    assert again.plain() == recipe.plain()
    assert (again.seed, again.name, again.folder, again.class_weight) == (7, "mine", recipe.folder, recipe.class_weight)
    assert described_modules(recipe.modules) == [["functions", str(pumps / "functions.py")]]
    assert described_modules({"own": keras.losses}) == [["own", "keras.losses"]]
    with pytest.raises(ArgumentError, match=r"the module 'main'.*use jobs=1"):
        described_modules({"main": sys.modules["builtins"]})
    with pytest.raises(CheckpointError, match="reads differently"):
        recipe_of({**described_recipe(recipe), "plain": {}}, recipe.modules)
