"""class_weight for one label per token."""

import keras
import numpy as np

y = np.array([[0, 2, 1, 0], [1, 1, 0, 2]] * 4)
model = keras.Sequential([keras.Input((4, 3)), keras.layers.Dense(3, activation="softmax")])
model.compile("sgd", "sparse_categorical_crossentropy")
model.fit(np.ones((8, 4, 3), "float32"), y, class_weight={0: 1.0, 1: 2.0, 2: 0.5, 3: 1.0}, verbose=0)
