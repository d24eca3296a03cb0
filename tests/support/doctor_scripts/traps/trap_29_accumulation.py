"""Accumulated gradients of batches of unequal weight."""

import keras
import numpy as np

rng = np.random.default_rng(0)
x, y = rng.normal(size=(32, 3)).astype("float32"), rng.integers(0, 2, 32)
w = np.repeat([1.0, 2.0, 1.0, 2.0], 8)
loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True, reduction="mean_with_sample_weight")
model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)])
model.compile(keras.optimizers.SGD(0.1, gradient_accumulation_steps=2), loss)
model.fit(x, y, sample_weight=w, batch_size=8, verbose=0)
