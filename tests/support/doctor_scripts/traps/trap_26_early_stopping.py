"""Early stopping together with a backup."""

import tempfile

import keras
import numpy as np

model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1)])
model.compile("sgd", "mse")
with tempfile.TemporaryDirectory() as folder:
    callbacks = [keras.callbacks.BackupAndRestore(folder + "/b"), keras.callbacks.EarlyStopping("loss", patience=5)]
    model.fit(np.ones((16, 3), "float32"), np.ones((16, 1), "float32"), epochs=4, callbacks=callbacks, verbose=0)
