"""A run that is saved after each epoch."""

import tempfile

import keras
import numpy as np

rng = np.random.default_rng(0)
x, y = rng.random((32, 3), dtype="float32"), rng.random((32, 1), dtype="float32")
model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1)])
model.compile("adam", "mse")
with tempfile.TemporaryDirectory() as folder:
    backup = keras.callbacks.BackupAndRestore(folder + "/backup", save_freq="epoch")
    model.fit(x, y, epochs=3, callbacks=[backup], verbose=0)
    model.save_weights(folder + "/final.weights.h5")
    model.load_weights(folder + "/final.weights.h5")
    model.evaluate(x, y, verbose=0)
