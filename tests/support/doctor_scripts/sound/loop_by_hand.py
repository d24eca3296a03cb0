"""Training by `train_on_batch`."""

import keras
import numpy as np

rng = np.random.default_rng(0)
model = keras.Sequential([keras.Input((5,)), keras.layers.Dense(3, activation="softmax")])
model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
for _ in range(3):
    model.train_on_batch(rng.random((8, 5), dtype="float32"), rng.integers(0, 3, 8))
