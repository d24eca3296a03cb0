"""class_weight with a Python generator."""

import keras
import numpy as np

rng = np.random.default_rng(0)


def endless():
    while True:
        yield rng.normal(size=(8, 3)).astype("float32"), rng.integers(0, 2, 8)


model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2, activation="softmax")])
model.compile("sgd", "sparse_categorical_crossentropy")
model.fit(endless(), steps_per_epoch=4, class_weight={0: 1.0, 1: 5.0}, verbose=0)
