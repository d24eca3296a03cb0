"""Class weights by name, for labels that are class indices."""

import keras
import numpy as np

y = np.array([0, 1] * 8)
model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2, activation="softmax")])
model.compile("sgd", "sparse_categorical_crossentropy")
model.fit(np.ones((16, 3), "float32"), y, class_weight={"ok": 0.5, "leak": 1.5}, verbose=0)
