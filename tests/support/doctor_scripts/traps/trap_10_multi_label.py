"""class_weight for several labels per sample."""

import keras
import numpy as np

y = np.array([[1, 0, 1], [0, 1, 1], [0, 0, 0], [0, 0, 1]] * 4, "float32")
model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(3, activation="sigmoid")])
model.compile("sgd", "binary_crossentropy")
model.fit(np.ones((16, 3), "float32"), y, class_weight={0: 1.0, 1: 1.2, 2: 0.8}, verbose=0)
