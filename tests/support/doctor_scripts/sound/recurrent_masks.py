"""A recurrent network over padded tokens, with masks."""

import keras
import numpy as np

rng = np.random.default_rng(0)
tokens = rng.integers(1, 20, (32, 6))
tokens[np.arange(6) >= rng.integers(2, 7, (32, 1))] = 0
inputs = keras.Input((6,), dtype="int32")
hidden = keras.layers.Bidirectional(keras.layers.LSTM(4))(keras.layers.Embedding(20, 4, mask_zero=True)(inputs))
model = keras.Model(inputs, keras.layers.Dense(1, activation="sigmoid")(hidden))
model.compile("adam", "binary_crossentropy", metrics=["accuracy"])
model.fit(tokens, rng.integers(0, 2, 32), validation_split=0.25, verbose=0)
