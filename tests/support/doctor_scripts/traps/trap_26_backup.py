"""A backup every few batches."""

import tempfile

import keras
import numpy as np

model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1)])
model.compile("sgd", "mse")
with tempfile.TemporaryDirectory() as folder:
    backup = keras.callbacks.BackupAndRestore(folder + "/backup", save_freq=2)
    x, y = np.ones((48, 3), "float32"), np.ones((48, 1), "float32")
    model.fit(x, y, batch_size=8, epochs=4, callbacks=[backup], verbose=0)
