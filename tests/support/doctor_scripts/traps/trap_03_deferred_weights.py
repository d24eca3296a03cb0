"""Deferred re-weighting: a callback raises a factor of the loss, which is a Python number."""

# backends: jax tensorflow

import keras
import numpy as np


class Weighted(keras.losses.Loss):
    def __init__(self):
        super().__init__()
        self.factor = 1.0

    def call(self, y_true, y_pred):
        return self.factor * keras.ops.mean((y_true - y_pred) ** 2, axis=-1)


class Defer(keras.callbacks.Callback):
    def on_epoch_begin(self, epoch, logs=None):
        if epoch >= 2:
            self.model.loss.factor = 10.0


model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1)])
model.compile("sgd", Weighted())
model.fit(np.ones((8, 3), "float32"), np.ones((8, 1), "float32"), epochs=4, callbacks=[Defer()], verbose=0)
