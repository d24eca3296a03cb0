"""
How much a leak inflates the figures
====================================

Sixty recordings of a machine, each with one state. Each recording has an operating point of its own, which says nothing
about the state; the state is only a faint oscillation. A network that memorises operating points recognises windows of
recordings that it was trained on, and no others.

Windows were cut beforehand, one file each, as happens in practice. The same recipe is trained twice: with windows split
at random (the leak), and with ``group: record``, so that no recording is in two parts. Both networks are then evaluated
on recordings that neither has seen.
"""

from pathlib import Path
from tempfile import TemporaryDirectory

import matplotlib.pyplot as plt
import numpy as np
import polars as pl

import tailfit
from tailfit.recipes import evaluate_run, train

STATES = ["normal", "leak", "wear"]


def write_windows(folder, recordings, seed, windows=20, length=24):
    """Write the windows of recordings as data/<ID>.npy, with labels.json and metadata.csv."""
    rng = np.random.default_rng(seed)
    record = np.repeat(np.arange(recordings), windows)
    state = np.arange(recordings) % len(STATES)
    operating_point = rng.normal(size=(recordings, 1, 4))
    phase = rng.uniform(0, 2 * np.pi, size=(len(record), 1, 1))
    angle = 2 * np.pi * np.arange(length)[:, np.newaxis] * (1 + state[record, np.newaxis, np.newaxis]) / length
    x = operating_point[record] + 0.35 * np.sin(angle + phase) + rng.normal(scale=0.6, size=(len(record), length, 4))
    ids = [f"{folder.name} {i}" for i in range(len(x))]
    metadata = pl.DataFrame({"id": ids, "record": [f"recording {r}" for r in record]})
    tailfit.data.save_npy_folder(folder, x.astype("float32"), [STATES[k] for k in state[record]], ids, metadata)


# %%
# Train both, and evaluate both on 90 new recordings:

RECIPE = {
    "network": {"name": "mlp", "units": [64]},
    "optimizer": {"name": "Adam", "learning_rate": 0.003},
    "epochs": 30,
    "batch_size": 32,
}
found = {}
with TemporaryDirectory() as folder:
    write_windows(Path(folder, "known"), recordings=60, seed=0)
    write_windows(Path(folder, "new"), recordings=90, seed=1)
    print(f"{'':22}test part               90 new recordings")
    for name, group in {"windows split": None, "recordings split": "record"}.items():
        data = {"path": f"{folder}/known", "group": group, "split": {"train": 0.6, "validation": None, "test": 0.4}}
        run = train({**RECIPE, "data": data}, Path(folder, name))
        new = evaluate_run(run.directory, data=f"{folder}/new")
        print(f"{name:18}{run.evaluation.balanced_accuracy!s:>26}{new.balanced_accuracy!s:>26}")
        found[name] = (run.evaluation.balanced_accuracy, new.balanced_accuracy)

# %%
# With windows split at random, the test part promises what new recordings do not keep. With whole recordings, the
# interval of the test part covers the truth.

for column, label in enumerate(["test part", "new recordings"]):
    figures = [pair[column] for pair in found.values()]
    places = np.arange(2) + 0.2 * column - 0.1
    plt.vlines(places, [figure.low for figure in figures], [figure.high for figure in figures], "silver", linewidth=4)
    plt.plot(places, figures, "o", label=label)
plt.xticks([0, 1], found)
plt.xlim(-0.6, 1.6)
plt.ylabel("balanced accuracy with 95 % interval")
plt.legend()
plt.show()
