"""Accuracy for 1 fault in 20 records."""

import keras
import numpy as np

y = np.array([0] * 57 + [1] * 3)
model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2, activation="softmax")])
model.compile("sgd", "sparse_categorical_crossentropy", metrics=["accuracy"])
model.fit(np.ones((60, 3), "float32"), y, verbose=0)
