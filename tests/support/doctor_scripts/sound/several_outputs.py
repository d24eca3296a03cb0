"""Functional model with two inputs and two outputs."""

import keras
import numpy as np
from keras import layers

rng = np.random.default_rng(0)
title, body = keras.Input((4,), name="title"), keras.Input((6,), name="body")
joined = layers.concatenate([layers.Dense(4)(title), layers.Dense(4)(body)])
priority = layers.Dense(1, name="priority")(joined)
department = layers.Dense(3, name="department")(joined)
model = keras.Model([title, body], {"priority": priority, "department": department})
model.compile(
    keras.optimizers.RMSprop(1e-3),
    loss={
        "priority": keras.losses.BinaryCrossentropy(from_logits=True),
        "department": keras.losses.CategoricalCrossentropy(from_logits=True),
    },
    loss_weights={"priority": 1.0, "department": 0.2},
)
x = {"title": rng.random((32, 4), dtype="float32"), "body": rng.random((32, 6), dtype="float32")}
y = {"priority": rng.integers(0, 2, (32, 1)), "department": np.eye(3, dtype="float32")[rng.integers(0, 3, 32)]}
model.fit(x, y, epochs=2, batch_size=8, verbose=0)
