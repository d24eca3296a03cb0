"""A `compute_loss` of one's own that adds the penalties, and one that extends Keras'."""

import keras
import numpy as np
from keras import ops


class Robust(keras.Model):
    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        return ops.mean(ops.abs(y - y_pred)) + sum(self.losses)


class Smooth(keras.Model):
    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        loss = super().compute_loss(x, y, y_pred, sample_weight, training=training)
        return loss + 0.01 * ops.mean(ops.square(y_pred))


for kind in (Robust, Smooth):
    inputs = keras.Input((3,))
    model = kind(inputs, keras.layers.Dense(1, kernel_regularizer="l2")(inputs))
    model.compile("adam", None if kind is Robust else "mse")
    model.fit(np.ones((8, 3), "float32"), np.ones((8, 1), "float32"), epochs=2, verbose=0)
