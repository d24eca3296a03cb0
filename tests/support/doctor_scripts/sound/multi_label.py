"""Several labels per sample."""

import keras
import numpy as np

rng = np.random.default_rng(0)
x, y = rng.random((32, 5), dtype="float32"), (rng.random((32, 4)) < 0.3).astype("float32")
model = keras.Sequential([keras.Input((5,)), keras.layers.Dense(4, activation="sigmoid")])
model.compile("adam", "binary_crossentropy", metrics=["binary_accuracy", keras.metrics.AUC(multi_label=True)])
model.fit(x, y, validation_split=0.25, epochs=2, verbose=0)
