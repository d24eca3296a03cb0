"""Transfer learning: a frozen base, then fine-tuning."""

import keras
import numpy as np

rng = np.random.default_rng(0)
base = keras.Sequential(
    [keras.Input((8, 8, 3)), keras.layers.Conv2D(4, 3), keras.layers.BatchNormalization(), keras.layers.ReLU()]
)
base.trainable = False
inputs = keras.Input((8, 8, 3))
hidden = keras.layers.GlobalAveragePooling2D()(base(inputs, training=False))
model = keras.Model(inputs, keras.layers.Dense(1)(keras.layers.Dropout(0.2)(hidden)))
x, y = rng.random((32, 8, 8, 3), dtype="float32"), rng.integers(0, 2, 32)
loss, metrics = keras.losses.BinaryCrossentropy(from_logits=True), [keras.metrics.BinaryAccuracy()]
model.compile(keras.optimizers.Adam(), loss, metrics=metrics)
model.fit(x, y, verbose=0)
base.trainable = True
model.compile(keras.optimizers.Adam(1e-5), loss, metrics=metrics)
model.fit(x, y, verbose=0)
