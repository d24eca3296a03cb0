"""Focal loss, for hard samples."""

# backends: jax torch

import keras
import numpy as np

y = keras.utils.to_categorical(np.array([0, 1, 2, 2] * 4), 3)
model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(3)])
model.compile("sgd", keras.losses.CategoricalFocalCrossentropy(from_logits=True))
model.fit(np.ones((16, 3), "float32"), y, verbose=0)
