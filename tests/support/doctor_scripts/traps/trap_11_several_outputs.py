"""class_weight for a model with two outputs."""

import keras
import numpy as np

inputs = keras.Input((3,))
outputs = {name: keras.layers.Dense(2, activation="softmax", name=name)(inputs) for name in ("cause", "site")}
model = keras.Model(inputs, outputs)
model.compile("sgd", dict.fromkeys(outputs, "sparse_categorical_crossentropy"))
y = np.array([0, 1] * 4)
model.fit(np.ones((8, 3), "float32"), {"cause": y, "site": y}, class_weight={0: 1.0, 1: 2.0}, verbose=0)
