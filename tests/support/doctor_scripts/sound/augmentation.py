"""Augmentation layers, and a layer of one's own with a seed generator."""

import keras
import numpy as np
from keras import ops


class Noise(keras.layers.Layer):
    def __init__(self, scale, seed=1, **options):
        super().__init__(**options)
        self.scale, self.seed_generator = scale, keras.random.SeedGenerator(seed)

    def call(self, x, training=False):
        if not training:
            return x
        return x + self.scale * keras.random.normal(ops.shape(x), seed=self.seed_generator)


rng = np.random.default_rng(0)
model = keras.Sequential(
    [
        keras.Input((8, 8, 3)),
        keras.layers.RandomFlip("horizontal"),
        Noise(0.1),
        keras.layers.Conv2D(2, 3, activation="relu"),
        keras.layers.Flatten(),
        keras.layers.Dense(2, activation="softmax"),
    ]
)
model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
model.fit(rng.random((16, 8, 8, 3), dtype="float32"), rng.integers(0, 2, 16), verbose=0)
