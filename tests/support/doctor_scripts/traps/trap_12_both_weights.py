"""Class weights and sample weights together."""

import keras
import numpy as np

y = np.array([0, 1] * 8)
model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2, activation="softmax")])
model.compile("sgd", "sparse_categorical_crossentropy")
w = np.linspace(0.5, 1.5, 16)
model.fit(np.ones((16, 3), "float32"), y, class_weight={0: 0.5, 1: 1.5}, sample_weight=w, verbose=0)
