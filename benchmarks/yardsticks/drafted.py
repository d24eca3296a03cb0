"""The network that `tailfit init` writes for long series: its recipe with other networks, on the sets of (f).

    KERAS_BACKEND=tensorflow python benchmarks/yardsticks/drafted.py --data DIR --out benchmarks/yardsticks/drafted.txt

Test parts as the archive has them; 15 % of each class of the training part are for validation. DIR is that of the
yardsticks. Mean recall and accuracy in %, mean over the seeds, and seconds of a run.
"""

import argparse
import json
import os
import platform
import tempfile
import time
from pathlib import Path
from typing import Any

import keras
import numpy as np

import tailfit
from tailfit.recipes import train

SETS = ("MedicalImages", "WordSynonyms", "DistalPhalanxTW")
DRAFT = {"loss": "LogitAdjusted", "batch_size": 32, "epochs": 30, "early_stopping": {"patience": 5}}
RIDGE = {"stage": "RidgeClassifier", "class_weight": "balanced", "epochs": 1, "batch_size": 32}
RECIPES: dict[str, dict[str, Any]] = {
    "cnn": {"network": "cnn", **DRAFT},
    "lite": {"network": "lite", **DRAFT},
    "minirocket": {"network": "minirocket", **DRAFT},
    "minirocket, RidgeClassifier": {"network": "minirocket", **RIDGE},
}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="folder that has ucr/<set>.npz")
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--out", type=Path, help="also write the table here")
    given = parser.parse_args()
    machine = f"{platform.machine()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}"
    lines = [
        f"$ python benchmarks/yardsticks/drafted.py --data DIR --seeds {given.seeds}",
        f"{machine}, Python {platform.python_version()}, keras {keras.__version__} on {keras.backend.backend()}, "
        f"tailfit {tailfit.__version__}",
        f"{'set, network':44}{'recall':>8}{'accuracy':>9}{'s a run':>8}",
    ]
    with tempfile.TemporaryDirectory() as folder:
        for name in SETS:
            data = written(given.data / "ucr" / f"{name}.npz", Path(folder, name))
            for title, recipe in RECIPES.items():
                lines.append(row(f"{name}, {title}", {"data": data, **recipe}, given.seeds, Path(folder)))
                print(lines[-1], flush=True)
    if given.out:
        given.out.write_text("\n".join(lines) + "\n")


def row(title: str, recipe: dict[str, Any], seeds: int, folder: Path) -> str:
    found, start = [], time.perf_counter()
    for seed in range(seeds):
        run = train({**recipe, "seed": seed}, Path(tempfile.mkdtemp(dir=folder)) / "run")
        found.append((100 * run.evaluation.balanced_accuracy, 100 * run.evaluation.accuracy))
    recall, accuracy = np.mean(found, axis=0)
    return f"{title:44}{recall:8.1f}{accuracy:9.1f}{(time.perf_counter() - start) / seeds:8.0f}"


def written(path: Path, folder: Path) -> dict[str, str]:
    """Write a set as a folder of .npy files with a partition; return the key `data` of a recipe."""
    with np.load(path, allow_pickle=False) as file:
        x, y, is_train, names = file["X"].astype("float32"), file["y"], file["is_train"], file["y_names"]
    ids = np.array([f"s{number:05d}" for number in range(len(x))])
    rng, validation = np.random.default_rng(0), np.zeros(len(x), bool)
    for code in range(len(names)):
        own = rng.permutation(np.flatnonzero(is_train & (y == code)))
        validation[own[: max(1, round(0.15 * len(own))) if len(own) > 1 else 0]] = True
    tailfit.data.save_npy_folder(folder, x, names[y], ids=ids)
    parts = {"train": is_train & ~validation, "validation": validation, "test": ~is_train}
    partition = {part: ids[rows].tolist() for part, rows in parts.items()}
    (folder / "partition.json").write_text(json.dumps(partition))
    return {"path": str(folder)}


if __name__ == "__main__":
    main()
