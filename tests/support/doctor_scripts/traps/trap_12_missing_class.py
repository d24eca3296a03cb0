"""A class that is missing in the weights."""

import keras
import numpy as np

y = np.array([0, 1, 2, 2] * 4)
model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(3, activation="softmax")])
model.compile("sgd", "sparse_categorical_crossentropy")
model.fit(np.ones((16, 3), "float32"), y, class_weight={0: 0.5, 1: 0.8}, verbose=0)
