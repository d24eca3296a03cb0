"""`tailfit train --workers`: the files of one process, also when a worker is killed on the way."""

import numpy as np
import pytest

import tailfit
from tailfit.cli import main
from tailfit.recipes import train

pytestmark = pytest.mark.only_on("jax", "torch")

FILES = ("evaluation.json", "history.csv", "predictions.parquet", "weights.safetensors")
RECIPE = """
data: {path: pumps}
network: {name: mlp, units: [8], dropout: 0.5}
loss: LogitAdjusted
transform: {function: "fatal:transform"}
batch_size: 16
epochs: 3
parts: 2
"""
FATAL = """
import os, pathlib, signal

def transform(batch, rng):
    mark = pathlib.Path(__file__).with_name("killed")
    # Worker 1 is killed once, when the second epoch has begun, so that there is a checkpoint.
    if os.environ.get("RANK") == "1" and not mark.exists():
        count = pathlib.Path(__file__).with_name("count")
        done = int(count.read_text()) if count.exists() else 0
        count.write_text(str(done + 1))
        if done == 8:
            mark.touch()
            os.kill(os.getpid(), signal.SIGKILL)
    return batch
"""


@pytest.fixture
def recipe(tmp_path):
    rng = np.random.default_rng(0)
    y = np.repeat([0, 1], [60, 30])
    x = rng.normal(1.5 * y[:, None], size=(90, 4)).astype("float32")
    tailfit.data.save_npy_folder(tmp_path / "pumps", x, np.array(["leak", "ok"])[y])
    (tmp_path / "pumps.yaml").write_text(RECIPE)
    (tmp_path / "fatal.py").write_text(FATAL)
    return tmp_path / "pumps.yaml"


@pytest.fixture
def train_command(monkeypatch, capfd):
    """Run `tailfit train` in this process; return its exit code, and what it and its workers have printed."""

    def run(*arguments):
        monkeypatch.setattr("sys.argv", ["tailfit", "train", *map(str, arguments)])
        monkeypatch.setenv("COLUMNS", "120")
        with pytest.raises(SystemExit) as ended:
            main()
        return ended.value.code, *capfd.readouterr()

    return run


@pytest.mark.filterwarnings("default:Lost worker")
def test_two_workers_of_which_one_is_killed_end_with_the_files_of_one_process(recipe, tmp_path, train_command):
    train(recipe, tmp_path / "alone", modules=[str(tmp_path / "fatal.py")])
    code, out, err = train_command(recipe, "--workers", 2, "--module", tmp_path / "fatal.py", "--out", tmp_path / "two")
    assert code == 0, err
    assert "1 restart: lost worker 1, ended by SIGKILL" in out
    assert "All workers start again" in err
    for name in FILES:
        assert (tmp_path / "two" / name).read_bytes() == (tmp_path / "alone" / name).read_bytes(), name
    assert "restart 1" in (tmp_path / "two" / "workers" / "0.log").read_text()


def test_an_error_of_the_workers_is_shown_once_and_not_retried(recipe, tmp_path, train_command):
    changes = ["-s", "transform=null", "-s", "data.path=missing"]
    code, _, err = train_command(recipe, "--workers", 2, "--out", tmp_path / "two", *changes)
    assert code == 2, err
    assert err.count("Received") == 1, err
    assert "missing" in err
    assert not (tmp_path / "two" / "run.json").exists()
