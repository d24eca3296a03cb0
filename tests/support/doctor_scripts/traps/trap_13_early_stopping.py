"""Early stopping on val_loss, with class weights."""

import keras
import numpy as np

rng = np.random.default_rng(0)
x, y = rng.normal(size=(40, 3)).astype("float32"), np.array([0] * 8 + [1] * 32)
model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2, activation="softmax")])
model.compile("sgd", "sparse_categorical_crossentropy")
stop = keras.callbacks.EarlyStopping(patience=2)
model.fit(
    x, y, epochs=5, class_weight={0: 2.5, 1: 0.625}, validation_data=(x[:20], y[:20]), callbacks=[stop], verbose=0
)
