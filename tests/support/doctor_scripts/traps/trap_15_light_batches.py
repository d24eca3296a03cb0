"""A mean over weights, with batches of very unequal weight."""

import keras
import numpy as np

rng = np.random.default_rng(0)
x, y = rng.normal(size=(32, 3)).astype("float32"), rng.integers(0, 2, 32)
w = np.where(np.arange(32) < 8, 5.0, 0.1)
loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True, reduction="mean_with_sample_weight")
model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)])
model.compile("sgd", loss)
model.fit(x, y, sample_weight=w, batch_size=8, verbose=0)
