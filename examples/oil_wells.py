"""
Oil wells: recordings, windows and groups
=========================================

Recordings are tables with one row per step and a label that changes while a fault develops. Windows are cut from them,
and whole wells are held back: windows of one well resemble each other. The recordings are synthetic; the page on
`real oil wells <../oil-wells.html>`_ has a complete study.
"""

from pathlib import Path
from tempfile import TemporaryDirectory

import keras
import matplotlib.pyplot as plt
import numpy as np
import polars as pl

import tailfit

# %%
# Twelve wells with three recordings each. In two of them a hydrate forms: the pressure rises, the temperature falls.

folder = TemporaryDirectory()
rng = np.random.default_rng(0)
runs = []
for well in range(12):
    pressure, temperature = rng.normal(20, 3), rng.normal(80, 5)  # each well has its own level
    for number in range(3):
        begin = 120 if number else 240  # the first recording stays normal
        since = np.maximum(np.arange(240) - begin, 0)
        table = pl.DataFrame(
            {
                "timestamp": np.arange(240) * 10.0,
                "pressure": pressure + 0.03 * since + rng.normal(scale=0.6, size=240),
                "temperature": temperature - 0.06 * since + rng.normal(scale=1.0, size=240),
                "class": np.where(since > 0, 8, 0),
            }
        )
        run = f"well-{well:02d}-{number}"
        table.write_csv(Path(folder.name, f"{run}.csv"))
        runs.append({"run": run, "well": f"well {well:02d}"})
pl.DataFrame(runs).write_csv(Path(folder.name, "runs.csv"))

# %%
# ``split`` keeps the recordings of a well together, since ``group="well"``.

recordings = tailfit.data.Recordings(folder.name, classes={"normal": [0], "hydrate": [8]}, group="well")
windows = tailfit.data.Windows(recordings, length=30, stride=6, label="last")
train, test = windows.split(0.67, 0.33, seed=0)
print(len(train), "windows of", len(set(train.groups)), "wells;", len(test), "of", len(set(test.groups)))

# %%
# How a window changes tells more than the level of its well: subtract its first readings.


def changes(batch, rng):
    x, *rest = batch
    return (x - x[:, :5].mean(axis=1, keepdims=True), *rest)


keras.utils.set_random_seed(0)
batches = tailfit.Batches(train, 64, tailfit.samplers.ClassBalanced(), transform=changes, seed=0)
model = tailfit.networks.cnn((30, 2), 2, filters=(16, 16))
model.compile(keras.optimizers.Adam(3e-3), tailfit.losses.CrossEntropy(from_logits=True))
model.fit(batches, epochs=12, verbose=0)

scores = model.predict(tailfit.Batches(test, 256, transform=changes), verbose=0)
evaluation = tailfit.evaluate(
    test.labels, scores, test.class_names, groups=test.groups, ids=test.ids, metadata=test.metadata, alarm_after=3
)
print(evaluation)

# %%
# One recording of a well that the network has never seen:

run = test.metadata["record"].unique().sort()[1]
rows = (test.metadata["record"] == run).to_numpy()
ends = test.metadata["start"].to_numpy()[rows] + 30
share = 1 / (1 + np.exp(scores[rows, 0] - scores[rows, 1]))
table = pl.read_csv(Path(folder.name, f"{run}.csv"))
figure, (top, bottom) = plt.subplots(2, 1, sharex=True, figsize=(7, 4.5), layout="constrained")
top.plot(table["pressure"] - table["pressure"][0], label="pressure")
top.plot(table["temperature"] - table["temperature"][0], label="temperature")
top.legend()
bottom.plot(ends, share, label="predicted probability of a hydrate")
bottom.fill_between(range(240), table["class"] / 8, color="silver", label="labelled as hydrate")
bottom.set_xlabel("step")
bottom.legend(loc="upper left")
plt.show()
folder.cleanup()
