"""Generalised cross-entropy, for noisy labels."""

import keras
import numpy as np

model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(3, activation="softmax")])
model.compile("sgd", keras.losses.CategoricalGeneralizedCrossEntropy(q=0.7))
model.fit(np.ones((16, 3), "float32"), np.array([0, 1, 2, 2] * 4), verbose=0)
