"""Padding marked by weights of 0."""

import keras
import numpy as np

rng = np.random.default_rng(0)
x, y = rng.normal(size=(16, 6, 3)).astype("float32"), rng.integers(0, 2, (16, 6))
lengths = rng.integers(2, 6, 16)
w = (np.arange(6) < lengths[:, None]).astype("float32")
model = keras.Sequential([keras.Input((6, 3)), keras.layers.Dense(2, activation="softmax")])
model.compile("sgd", "sparse_categorical_crossentropy")
model.fit(x, y, sample_weight=w, verbose=0)
