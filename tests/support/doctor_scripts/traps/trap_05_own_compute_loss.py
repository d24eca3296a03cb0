"""A `compute_loss` of one's own leaves regularizers out."""

import keras
import numpy as np
from keras import ops


class Robust(keras.Model):
    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        return ops.mean(ops.abs(y - y_pred))


inputs = keras.Input((3,))
outputs = keras.layers.Dense(1, kernel_regularizer=keras.regularizers.L2(0.1))(inputs)
model = Robust(inputs, outputs)
model.compile("sgd")
model.fit(np.ones((8, 3), "float32"), np.ones((8, 1), "float32"), verbose=0)
