"""Mixup and class weights."""

import keras
import numpy as np

rng = np.random.default_rng(0)
x, y = rng.normal(size=(16, 3)).astype("float32"), np.eye(2, dtype="float32")[rng.integers(0, 2, 16)]
share = rng.beta(0.4, 0.4, (16, 1)).astype("float32")
x, y = share * x + (1 - share) * x[::-1], share * y + (1 - share) * y[::-1]
model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2, activation="softmax")])
model.compile("sgd", "categorical_crossentropy")
model.fit(x, y, class_weight={0: 0.5, 1: 1.5}, verbose=0)
