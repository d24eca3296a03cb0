"""F1Score with class indices."""

import keras
import numpy as np

y = np.array([0, 1, 2, 2] * 4)[:, None]
model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(3, activation="softmax")])
model.compile("sgd", "sparse_categorical_crossentropy", metrics=[keras.metrics.F1Score(average="macro")])
model.fit(np.ones((16, 3), "float32"), y, verbose=0)
