"""A loss that sums."""

import keras
import numpy as np

rng = np.random.default_rng(0)
x, y = rng.normal(size=(40, 3)).astype("float32"), rng.integers(0, 2, 40)
model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)])
model.compile(keras.optimizers.SGD(1e-3), keras.losses.SparseCategoricalCrossentropy(from_logits=True, reduction="sum"))
model.fit(x, y, batch_size=8, verbose=0)
