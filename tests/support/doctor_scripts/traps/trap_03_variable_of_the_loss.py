"""The factor is a `keras.Variable`, but the loss owns it, so the JAX step does not read it anew."""

# backends: jax

import keras
import numpy as np


class Weighted(keras.losses.Loss):
    def __init__(self):
        super().__init__()
        self.factor = keras.Variable(1.0, trainable=False)

    def call(self, y_true, y_pred):
        return self.factor * keras.ops.mean((y_true - y_pred) ** 2, axis=-1)


class Defer(keras.callbacks.Callback):
    def __init__(self, loss):
        super().__init__()
        self.loss = loss

    def on_epoch_begin(self, epoch, logs=None):
        self.loss.factor.assign(1.0 if epoch < 2 else 10.0)


loss = Weighted()
model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1)])
model.compile("sgd", loss)
model.fit(np.ones((8, 3), "float32"), np.ones((8, 1), "float32"), epochs=4, callbacks=[Defer(loss)], verbose=0)
