"""An evaluation with weights, whose accuracy ignores them."""

import keras
import numpy as np

rng = np.random.default_rng(0)
x, y, w = rng.normal(size=(32, 3)).astype("float32"), rng.integers(0, 2, 32), rng.uniform(0.5, 1.5, 32)
model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2, activation="softmax")])
model.compile("sgd", "sparse_categorical_crossentropy", metrics=["accuracy"])
model.fit(x, y, verbose=0)
model.evaluate(x, y, sample_weight=w, verbose=0)
