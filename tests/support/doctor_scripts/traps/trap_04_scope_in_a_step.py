"""A layer that tries a changed weight in a scope of its own."""

# backends: jax

import keras
import numpy as np
from keras import ops


class Perturbed(keras.layers.Layer):
    def __init__(self):
        super().__init__()
        self.inner = keras.layers.Dense(1)

    def build(self, shape):
        self.inner.build(shape)

    def call(self, x):
        kernel = self.inner.kernel
        with keras.StatelessScope(state_mapping=[(kernel, kernel.value * 0.9)]):
            return self.inner(x) + ops.zeros((1,))


model = keras.Sequential([keras.Input((3,)), Perturbed()])
model.compile("sgd", "mse")
model.fit(np.ones((8, 3), "float32"), np.ones((8, 1), "float32"), verbose=0)
