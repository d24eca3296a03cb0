"""The step of the JAX guide, with a regularizer."""

# backends: jax

import jax
import keras
import numpy as np


class Custom(keras.Model):
    def loss_and_updates(self, trainable, rest, x, y):
        y_pred, rest = self.stateless_call(trainable, rest, x, training=True)
        return self.compute_loss(x, y, y_pred), (y_pred, rest)

    def train_step(self, state, data):
        trainable, rest, slots, metrics = state
        x, y = data
        gradient = jax.value_and_grad(self.loss_and_updates, has_aux=True)
        (loss, (_, rest)), grads = gradient(trainable, rest, x, y)
        trainable, slots = self.optimizer.stateless_apply(slots, grads, trainable)
        return {"loss": loss}, (trainable, rest, slots, metrics)


inputs = keras.Input((3,))
outputs = keras.layers.Dense(1, activity_regularizer=keras.regularizers.L2(0.1))(inputs)
model = Custom(inputs, outputs)
model.compile("sgd", "mse")
model.fit(np.ones((8, 3), "float32"), np.ones((8, 1), "float32"), verbose=0)
