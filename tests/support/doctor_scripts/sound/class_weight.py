"""Balanced class weights, and a checkpoint chosen by a metric that weights do not change."""

import tempfile

import keras
import numpy as np

rng = np.random.default_rng(0)
y = np.array([0] * 48 + [1] * 16)
x = rng.normal(y[:, None], size=(64, 3)).astype("float32")
order = rng.permutation(64)
x, y = x[order], y[order]
weights = dict(enumerate(64 / (2 * np.bincount(y))))
model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1, activation="sigmoid")])
model.compile(
    "adam", "binary_crossentropy", metrics=[keras.metrics.AUC(name="auc"), keras.metrics.Recall(name="recall")]
)
with tempfile.TemporaryDirectory() as folder:
    best = folder + "/best.weights.h5"
    callbacks = [
        keras.callbacks.ModelCheckpoint(
            best, monitor="val_auc", mode="max", save_best_only=True, save_weights_only=True
        ),
        keras.callbacks.EarlyStopping("val_auc", mode="max", patience=3),
    ]
    model.fit(x, y, epochs=3, class_weight=weights, validation_data=(x, y), callbacks=callbacks, verbose=0)
    model.load_weights(best)
assert model.predict(x, verbose=0).shape == (64, 1)
