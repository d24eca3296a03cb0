"""Two devices, and a last batch of 3 samples."""

# backends: jax # process: own

import os

os.environ["XLA_FLAGS"] = "--xla_force_host_platform_device_count=2"

import keras
import numpy as np

keras.distribution.set_distribution(keras.distribution.DataParallel())
model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1)])
model.compile("sgd", "mse")
model.fit(np.ones((11, 3), "float32"), np.ones((11, 1), "float32"), batch_size=4, verbose=0)
