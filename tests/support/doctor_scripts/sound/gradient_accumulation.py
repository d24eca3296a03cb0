"""Gradient accumulation over batches of equal size, without weights."""

import keras
import numpy as np

rng = np.random.default_rng(0)
model = keras.Sequential([keras.Input((5,)), keras.layers.Dense(3, activation="softmax")])
model.compile(keras.optimizers.Adam(1e-3, gradient_accumulation_steps=2), "sparse_categorical_crossentropy")
model.fit(rng.random((32, 5), dtype="float32"), rng.integers(0, 3, 32), batch_size=8, epochs=2, verbose=0)
