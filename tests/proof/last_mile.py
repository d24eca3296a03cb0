"""Every command in an empty folder, from raw data to scores in a program without tailfit and Keras.

    python tests/proof/last_mile.py --tep tep_windows.npz --wells 3w [--work FOLDER] [--share 1.0]

Two data sets, used as their users get them: windows of a simulated chemical plant, one `.npy` file per window with a
table of labels; and recordings of oil wells, one Parquet table per recording with a label per step, whose table of
metadata is rebuilt from the names of the files. For each: inspect, init, train, compare, suspects, runs, predict and
export. The ONNX file is then run by a script of twelve lines in a new environment with NumPy and onnxruntime only: its
scores must be those that `predict` wrote, to 1e-5 of the largest. Trainings are short; this is no benchmark. `--share`
uses less of the data.
"""

import argparse
import json
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
import venv
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

TWELVE_LINES = """\
import json, sys
import numpy as np
import onnxruntime

session = onnxruntime.InferenceSession(sys.argv[1])
names = json.loads(session.get_modelmeta().custom_metadata_map["class_names"])
records = np.load(sys.argv[2])
scores = session.run(["scores"], {"records": records})[0]
for row in scores[:3]:
    print(names[row.argmax()], row.max().round(3))
np.save(sys.argv[3], scores)
assert not {"tailfit", "keras"} & set(sys.modules)
"""
CLASSES = {
    "normal": [0],
    "water increase": [1, 101],
    "valve closure": [2, 102],
    "slugging": [3],
    "instability": [4],
    "restriction": [6, 106],
}
SENSORS = ["P-PDG", "P-TPT", "P-MON-CKP", "T-JUS-CKP"]  # one of the others has no reading in any recording
STEPS = 18


class Folder:
    """A folder in which commands are run as a user runs them."""

    def __init__(self, path: Path) -> None:
        self.path = path
        plain = path / "plain"
        venv.create(plain, with_pip=True)
        self.python = plain / ("Scripts" if os.name == "nt" else "bin") / "python"
        self._run([str(self.python), "-m", "pip", "install", "--quiet", "numpy", "onnxruntime"])
        (path / "run.py").write_text(TWELVE_LINES, encoding="utf-8")

    def tailfit(self, *arguments: str, shown: int = 0) -> str:
        """Run a command, print it with its time and the last lines of its output, and return the output."""
        begun = time.perf_counter()
        out = self._run([sys.executable, "-m", "tailfit", *arguments])
        print(f"$ {shlex.join(['tailfit', *arguments])}  # {time.perf_counter() - begun:.0f} s", flush=True)
        for line in out.splitlines()[-shown:] if shown else []:
            print(f"  {line}")
        return out

    def scores(self, network: str, records: Any) -> Any:
        """Return the scores of records by the twelve lines."""
        np.save(self.path / "records.npy", records)
        environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
        print(f"$ python run.py {network} records.npy scores.npy")
        print(self._run([str(self.python), "run.py", network, "records.npy", "scores.npy"], environment), end="")
        return np.load(self.path / "scores.npy")

    def _run(self, command: list[str], environment: dict[str, str] | None = None) -> str:
        done = subprocess.run(
            command, cwd=self.path, env=environment, capture_output=True, text=True, encoding="utf-8", check=False
        )
        if done.returncode:
            raise SystemExit(f"{shlex.join(command)}\n{done.stdout}\n{done.stderr}\nexit code {done.returncode}")
        return done.stdout


def everything(folder: Folder, data: str, new: str, options: list[str], short: list[str]) -> pl.DataFrame:
    """Run all commands on a data set, and return the predictions of the new data."""
    folder.tailfit("inspect", data, *options, shown=3)
    folder.tailfit("init", data, *options, shown=4)
    recipe, run = f"{data}.yaml", f"runs/{data}"
    folder.tailfit("recipe", "check", recipe)
    folder.tailfit("train", recipe, *short, shown=7)
    vary = json.dumps({"plain": {"loss": "CrossEntropy"}, "adjusted": {"loss": "LogitAdjusted"}})
    folder.tailfit("compare", recipe, "--seeds", "2", "-s", f"compare.vary={vary}", *short, shown=4)
    folder.tailfit("suspects", recipe, "--folds", "2", "--top", "3", *short, shown=11)
    folder.tailfit("runs", "--all")
    states = {each["run"]: each["state"] for each in json.loads(folder.tailfit("runs", "--json"))}
    expected = {data: "done", f"{data}-compared": "done", f"{data}-suspects": "done"}
    assert {name: state for name, state in states.items() if name in expected} == expected, states
    folder.tailfit("predict", run, new, "--out", f"{data}.parquet", shown=2)
    folder.tailfit("export", run, "--out", f"{data}.onnx", shown=2)
    return pl.read_parquet(folder.path / f"{data}.parquet")


def compare(folder: Folder, data: str, predicted: pl.DataFrame, records: Any) -> None:
    """Compare the scores of the twelve lines with the predictions."""
    expected = predicted.select(pl.col("^score .*$")).to_numpy()
    found = folder.scores(f"{data}.onnx", records)
    difference = float(np.abs(found - expected).max())
    assert found.shape == expected.shape, (found.shape, expected.shape)
    assert difference <= 1e-5 * max(1.0, float(np.abs(expected).max())), difference
    assert (found.argmax(axis=1) == expected.argmax(axis=1)).mean() > 0.999
    print(f"{len(found):,} scores of {data}: at most {difference:.1g} from those that predict wrote\n", flush=True)


def plant(folder: Folder, path: Path, share: float) -> None:
    """Write windows of the plant as files, without labels for a part of them, and run all commands."""
    with np.load(path, allow_pickle=False) as file:
        x, names = file["X"], file["y_names"][file["y"]]
    known = np.random.default_rng(0).permutation(len(x))[: round(share * len(x))]
    known, unknown = known[len(known) // 5 :], np.sort(known[: len(known) // 5])
    for name, rows in (("plant", known), ("new-plant", unknown)):
        (folder.path / name).mkdir()
        for row in rows.tolist():
            np.save(folder.path / name / f"w{row:05d}.npy", x[row])
    labels = pl.DataFrame({"id": [f"w{row:05d}" for row in known.tolist()], "label": names[known].astype(str)})
    labels.write_csv(folder.path / "plant" / "labels.csv")
    predicted = everything(folder, "plant", "new-plant", [], ["-s", "epochs=4"])
    compare(folder, "plant", predicted, x[[int(name[1:]) for name in predicted["id"].to_list()]])


def wells(folder: Folder, source: Path, share: float) -> None:
    """Copy recordings of wells, rebuild their metadata, and run all commands."""
    paths = sorted(source.glob("*.parquet"))
    paths = paths[:: max(1, round(1 / share))]
    for name in ("wells", "new-wells"):
        (folder.path / name).mkdir()
    for path in paths:
        shutil.copyfile(path, folder.path / "wells" / path.name)
    runs = [path.stem for path in paths]
    well = [name.rpartition("_")[0] if name.startswith("WELL") else name for name in runs]
    kinds = ["real" if name.startswith("WELL") else name.partition("_")[0].lower() for name in runs]
    table = pl.DataFrame({"run": runs, "well": well, "source": kinds})
    table.write_csv(folder.path / "wells.csv")
    for path in paths[:5]:  # new recordings, without labels
        pl.read_parquet(path).drop("class").write_parquet(folder.path / "new-wells" / path.name)
    columns = json.dumps(SENSORS)
    options = {"classes": json.dumps(CLASSES), "columns": columns, "metadata": "wells.csv", "group": "well"}
    given = [each for key, value in options.items() for each in ("-o", f"{key}={value}")]
    windows = json.dumps({"length": STEPS, "stride": STEPS})
    short = ["-s", "epochs=1", "-s", f"data.windows={windows}", "-s", "batch_size=256"]
    predicted = everything(folder, "wells", "new-wells", given, short)
    channels = json.loads((folder.path / "runs/wells/result.json").read_text(encoding="utf-8"))["channels"]
    tables = {path.stem: pl.read_parquet(path).select(channels).to_numpy() for path in paths[:5]}
    places = predicted.select("record", "start").rows()
    compare(folder, "wells", predicted, np.stack([tables[name][start : start + STEPS] for name, start in places]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tep", type=Path, help="tep_windows.npz")
    parser.add_argument("--wells", type=Path, help="folder of recordings")
    parser.add_argument("--work", type=Path, help="empty folder; by default a temporary one")
    parser.add_argument("--share", type=float, default=1.0, help="share of the windows and recordings")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        work = options.work or Path(temporary)
        work.mkdir(parents=True, exist_ok=True)
        assert not list(work.iterdir()), f"{work} is not empty"
        folder = Folder(work)
        if options.tep is not None:
            plant(folder, options.tep, options.share)
        if options.wells is not None:
            wells(folder, options.wells, options.share)
    print("all scores are equal")


if __name__ == "__main__":
    main()
