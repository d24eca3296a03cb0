"""`train_step` for TensorFlow, as in the guide, with a regularizer."""

# backends: tensorflow

import keras
import numpy as np
import tensorflow as tf


class CustomModel(keras.Model):
    def train_step(self, data):
        x, y = data
        with tf.GradientTape() as tape:
            y_pred = self(x, training=True)
            loss = self.compute_loss(y=y, y_pred=y_pred)
        self.optimizer.apply(tape.gradient(loss, self.trainable_variables), self.trainable_variables)
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
