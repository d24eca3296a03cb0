"""`add_loss` in a layer, and a sampling layer with a seed generator."""

import keras
import numpy as np
from keras import layers, ops


class Sampling(layers.Layer):
    def __init__(self, **options):
        super().__init__(**options)
        self.seed_generator = keras.random.SeedGenerator(1337)

    def call(self, inputs):
        mean, log_var = inputs
        self.add_loss(-0.5 * ops.mean(1 + log_var - ops.square(mean) - ops.exp(log_var)))
        return mean + ops.exp(0.5 * log_var) * keras.random.normal(ops.shape(mean), seed=self.seed_generator)


inputs = keras.Input((8,))
hidden = layers.Dense(4, activation="relu")(inputs)
code = Sampling()([layers.Dense(2)(hidden), layers.Dense(2)(hidden)])
model = keras.Model(inputs, layers.Dense(8, activation="sigmoid")(code))
model.compile("adam", "mse")
x = np.random.default_rng(0).random((32, 8), dtype="float32")
model.fit(x, x, epochs=2, verbose=0)
