"""Several steps per call, in the hope of speed."""

# backends: jax torch

import keras
import numpy as np

model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1)])
model.compile("sgd", "mse", steps_per_execution=4)
model.fit(np.ones((64, 3), "float32"), np.ones((64, 1), "float32"), batch_size=8, verbose=0)
