"""A subclassed model, built by its first batch, with a metric and a schedule."""

import keras
import numpy as np


class Classifier(keras.Model):
    def __init__(self, classes):
        super().__init__()
        self.hidden = keras.layers.Dense(8, activation="relu", kernel_regularizer="l2")
        self.dropout = keras.layers.Dropout(0.1)
        self.head = keras.layers.Dense(classes)

    def call(self, x, training=False):
        return self.head(self.dropout(self.hidden(x), training=training))


rng = np.random.default_rng(0)
model = Classifier(3)
rate = keras.optimizers.schedules.ExponentialDecay(1e-2, 100, 0.9)
model.compile(
    keras.optimizers.Adam(rate),
    keras.losses.SparseCategoricalCrossentropy(from_logits=True),
    metrics=[keras.metrics.SparseCategoricalAccuracy()],
)
model.fit(rng.random((32, 5), dtype="float32"), rng.integers(0, 3, 32), validation_split=0.25, epochs=2, verbose=0)
