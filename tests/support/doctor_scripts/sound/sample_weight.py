"""Sample weights of mean 1, used in training, in the validation and in the metrics."""

import keras
import numpy as np

rng = np.random.default_rng(0)
x, y = rng.normal(size=(48, 3)).astype("float32"), rng.integers(0, 3, 48)
w = rng.uniform(0.5, 2, 48)
w /= w.mean()
model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(3)])
model.compile(
    "adam",
    keras.losses.SparseCategoricalCrossentropy(from_logits=True),
    weighted_metrics=["accuracy"],
)
stop = keras.callbacks.EarlyStopping("val_loss", patience=3)
model.fit(x, y, sample_weight=w, validation_data=(x, y, w), epochs=2, callbacks=[stop], verbose=0)
model.evaluate(x, y, sample_weight=w, verbose=0)
