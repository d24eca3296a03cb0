"""
Which remedy helps on given data
================================

One recipe, three remedies, several seeds each, and confidence intervals. The data are scikit-learn's handwritten
digits, subsampled to a long tail: a hundred zeros, four nines. The recipe is a YAML file, as for ``tailfit train``
and ``tailfit compare``; in Python it can also be a dict.
"""

from pathlib import Path
from tempfile import TemporaryDirectory

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits

import tailfit

RECIPE = """
data:
  path: digits                  # data/<ID>.npy, labels.json and partition.json next to this file
network: {name: mlp, units: [64]}
loss: CrossEntropy
epochs: 25
batch_size: 32
compare:
  seeds: 3
  vary:                         # remedies, each with the keys in which it differs; the first is the baseline
    plain: {}
    class weights: {class_weight: balanced}
    logit-adjusted: {loss: LogitAdjusted}
"""


def write_records(folder):
    """Write data/<ID>.npy, labels.json and partition.json; only the training part is subsampled."""
    images, digits = load_digits(return_X_y=True)
    ids = np.array([f"scan-{i:04d}" for i in range(len(digits))])
    train, validation, test = tailfit.data.Arrays(images, digits, ids).split(0.6, 0.1, 0.3)
    kept = [train.indices[digits[train.indices] == k][: round(100 * 25 ** (-k / 9))] for k in range(10)]
    parts = {"train": ids[np.concatenate(kept)], "validation": validation.ids, "test": test.ids}
    tailfit.data.save_npy_folder(
        folder,
        images.astype("float32"),
        [f"digit {k}" for k in digits],
        ids,
        partition={name: list(part) for name, part in parts.items()},
    )


# %%
# From a shell, this is ``tailfit compare digits.yaml --out runs/digits``.

with TemporaryDirectory() as folder:
    write_records(Path(folder, "digits"))
    recipe = Path(folder, "digits.yaml")
    recipe.write_text(RECIPE)
    result = tailfit.compare(recipe, directory=Path(folder, "runs"))
print(result)

# %%
# The differences to the first remedy. An interval that excludes 0 is a remedy that helps, or hurts, on these data.

for place, name in enumerate(result.verdicts):
    difference = result.differences[name]["balanced_accuracy"]
    plt.hlines(place, difference.low, difference.high, linewidth=3)
    plt.plot(difference, place, "o", label=f"{name}: {result.verdicts[name]}")
plt.axvline(0, color="gray", linewidth=1)
plt.yticks([])
plt.xlabel("gain in balanced accuracy with 95 % interval")
plt.legend(loc="upper left")
plt.margins(y=0.6)
plt.show()
