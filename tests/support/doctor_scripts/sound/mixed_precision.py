"""Mixed precision with loss scaling."""

import keras
import numpy as np

keras.mixed_precision.set_dtype_policy("mixed_float16")
try:
    inputs = keras.Input((6,))
    hidden = keras.layers.Dense(4, activation="relu")(inputs)
    outputs = keras.layers.Dense(2, activation="softmax", dtype="float32")(hidden)
    model = keras.Model(inputs, outputs)
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    rng = np.random.default_rng(0)
    model.fit(rng.random((32, 6), dtype="float32"), rng.integers(0, 2, 32), batch_size=8, verbose=0)
finally:
    keras.mixed_precision.set_dtype_policy("float32")
