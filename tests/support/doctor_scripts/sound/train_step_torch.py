"""`train_step` for torch, as in the guide, with a regularizer."""

# backends: torch

import keras
import numpy as np
import torch


class CustomModel(keras.Model):
    def train_step(self, data):
        x, y = data
        self.zero_grad()
        y_pred = self(x, training=True)
        loss = self.compute_loss(y=y, y_pred=y_pred)
        loss.backward()
        weights = list(self.trainable_weights)
        with torch.no_grad():
            self.optimizer.apply([weight.value.grad for weight in weights], weights)
        for metric in self.metrics:
            if metric.name == "loss":
                metric.update_state(loss)
            else:
                metric.update_state(y, y_pred)
        return {metric.name: metric.result() for metric in self.metrics}


inputs = keras.Input((6,))
model = CustomModel(inputs, keras.layers.Dense(1, kernel_regularizer="l2")(inputs))
model.compile("adam", "mse", metrics=["mae"])
rng = np.random.default_rng(0)
model.fit(rng.random((32, 6), dtype="float32"), rng.random((32, 1), dtype="float32"), epochs=2, verbose=0)
