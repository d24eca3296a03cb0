"""Planted label errors found by `tailfit suspects`, compared with cleanlab's rankings of the same probabilities.

    python benchmarks/suspects --mnist mnist.npz --tep tep_windows.npz [--out benchmarks/suspects/results.txt]

One label in ten is replaced by a random other class. Precision is the share of planted errors among as many samples at
the top of a ranking as were planted; the data may have errors of their own. cleanlab (not a dependency of tailfit) is
used if it is installed. MNIST: a sample of 6,000 images. TEP: windows of 20 steps of a simulated chemical plant, 22
classes; every run of the simulation is of one class, so that folds are stratified by class and cut runs.
"""

import argparse
import platform
import tempfile
import time
from pathlib import Path
from typing import Any

import keras
import numpy as np

import tailfit
from tailfit.recipes import find_suspects
from tailfit.weights import label_quality

NOISE = 0.1
RECIPES: dict[str, dict[str, Any]] = {
    "MNIST": {"network": {"name": "mlp", "units": [128], "dropout": 0.2}, "epochs": 15},
    "TEP": {"network": {"name": "cnn", "filters": [32, 64]}, "epochs": 30},
}


def data_of(name: str, path: Path) -> tuple[Any, Any]:
    """Return records and class names of a data set."""
    with np.load(path, allow_pickle=False) as file:
        x, y, names = file["X"], file["y"], file["y_names"]
    if name == "MNIST":
        chosen = np.random.default_rng(0).permutation(len(x))[:6000]
        x, y = (x[chosen].reshape(len(chosen), -1) / 255).astype("float32"), y[chosen]
    return x.astype("float32"), names[y].astype(str)


def planted(names: Any, seed: int) -> tuple[Any, Any]:
    """Return labels with errors, and a mask of the errors."""
    rng = np.random.default_rng(seed)
    classes = np.unique(names)
    rows = rng.permutation(len(names))[: round(NOISE * len(names))]
    labels = names.copy()
    for row in rows:
        labels[row] = rng.choice(classes[classes != labels[row]])
    wrong = np.zeros(len(names), dtype=bool)
    wrong[rows] = True
    return labels, wrong


def rankings(found: Any, quality: Any) -> dict[str, Any]:
    """Return the positions of all samples in the order of each ranking, by its name."""
    table = found.table
    names = list(found.class_names)
    codes = np.array([names.index(name) for name in table["given"]])
    orders = {"tailfit suspects": np.arange(table.height)}
    for method in ("self_confidence", "normalized_margin"):
        for adjusted in (False, True):
            scores = label_quality(codes, quality, method, adjusted=adjusted)
            orders[f"label_quality {method}{' adjusted' * adjusted}"] = np.argsort(scores, kind="stable")
    try:
        from cleanlab.filter import find_label_issues
        from cleanlab.rank import get_label_quality_scores
    except ImportError:
        return orders
    for method in ("self_confidence", "normalized_margin"):
        scores = get_label_quality_scores(codes, quality, method=method)
        orders[f"cleanlab {method}"] = np.argsort(scores, kind="stable")
        first = find_label_issues(codes, quality, return_indices_ranked_by=method, n_jobs=1)
        rest = np.setdiff1d(np.argsort(scores, kind="stable"), first, assume_unique=True)
        orders[f"cleanlab find_label_issues, {method}"] = np.concatenate([first, rest])
    return orders


def measured(name: str, path: Path, seed: int) -> list[str]:
    x, names = data_of(name, path)
    labels, wrong = planted(names, seed)
    with tempfile.TemporaryDirectory() as folder:
        tailfit.data.save_npy_folder(f"{folder}/data", x, labels)
        recipe = {"data": {"path": f"{folder}/data", "split": {}}, "seed": seed, **RECIPES[name]}
        begun = time.perf_counter()
        found = find_suspects(recipe, f"{folder}/suspects", folds=5)
        seconds = time.perf_counter() - begun
    positions = np.array([int(name) for name in found.table["id"]])
    suspects = found.table["suspect"].to_numpy()
    hit = wrong[positions]
    rows = [
        f"{name}: {len(x):,} samples, {wrong.sum()} planted errors, 5 folds, {seconds:.0f} s",
        f"  {suspects.sum()} suspects, of which {hit[suspects].mean():.3f} are planted; "
        f"{hit[suspects].sum() / wrong.sum():.3f} of the planted ones are suspects",
        "  precision at the planted number",
    ]
    for ranking, order in rankings(found, found.probabilities).items():
        rows.append(f"    {ranking:48s} {hit[order[: wrong.sum()]].mean():.3f}")
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mnist", type=Path)
    parser.add_argument("--tep", type=Path)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    text = [
        f"tailfit {tailfit.__version__}, Keras {keras.__version__} on {keras.backend.backend()}, {platform.machine()}"
    ]
    for name, path in (("MNIST", options.mnist), ("TEP", options.tep)):
        if path is not None:
            text += ["", *measured(name, path, options.seed)]
            print("\n".join(text), flush=True)
    if options.out is not None:
        options.out.write_text("\n".join(text) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
