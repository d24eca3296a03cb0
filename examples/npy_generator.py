"""
From a generator to Batches
===========================

The generator over ``data/<ID>.npy`` that is widely copied is a Sequence class of fifty lines. It leaves uninitialised
rows in the last batch, shuffles with a global seed and can't be resumed. Three lines read the same layout, with the
same ``partition`` and ``labels`` dicts.
"""

import tempfile
from pathlib import Path

import keras
import matplotlib.pyplot as plt
import numpy as np

import tailfit

# %%
# Typical data on disk: one file per record, and two dicts.

folder = tempfile.TemporaryDirectory()
data = Path(folder.name)
rng = np.random.default_rng(0)
partition = {"train": [f"id-{i}" for i in range(1, 81)], "validation": [f"id-{i}" for i in range(81, 101)]}
labels = {name: i % 3 for i, name in enumerate(partition["train"] + partition["validation"])}
for name, label in labels.items():
    np.save(data / f"{name}.npy", rng.normal(loc=label, size=(32, 4)).astype("float32"))

# %%
# The three lines:

parts = tailfit.data.NpyFolder(data, labels=labels).split(partition)
training_generator = tailfit.Batches(parts["train"], batch_size=32, one_hot=True)
validation_generator = tailfit.Batches(parts["validation"], batch_size=32, one_hot=True)

x, y = training_generator[0]
print("a batch:", x.shape, x.dtype, y.shape, y.dtype, "- the last one:", training_generator[2][0].shape)

# %%
# ``fit`` takes them as it takes a generator:

keras.utils.set_random_seed(0)
inputs = keras.Input((32, 4))
hidden = keras.layers.GlobalAveragePooling1D()(keras.layers.Conv1D(8, 5, activation="relu")(inputs))
model = tailfit.Model(inputs, keras.layers.Dense(3, activation="softmax")(hidden))
model.compile(keras.optimizers.Adam(1e-2), "categorical_crossentropy", metrics=["accuracy"])
history = model.fit(training_generator, validation_data=validation_generator, epochs=5, verbose=0).history
print("validation accuracy:", [round(value, 2) for value in history["val_accuracy"]])
folder.cleanup()

# %%
# The order depends on the seed, the epoch and the step only, so any batch can be looked up. This is when each record
# is read: once per epoch, at another place each time.

order = np.stack([np.concatenate([training_generator.indices(epoch, step) for step in range(3)]) for epoch in range(5)])
plt.imshow(order, aspect="auto", interpolation="nearest")
plt.colorbar(label="index of the record")
plt.xlabel("position in the epoch")
plt.ylabel("epoch")
plt.show()
