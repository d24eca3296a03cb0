"""A loss function of one's own in the step leaves regularizers out."""

# backends: torch

import keras
import numpy as np


class Custom(keras.Model):
    def train_step(self, data):
        x, y = data
        self.zero_grad()
        loss = self.loss(y, self(x, training=True))
        loss.backward()
        weights = list(self.trainable_weights)
        self.optimizer.apply([w.value.grad for w in weights], weights)
        return {"loss": loss}


inputs = keras.Input((3,))
outputs = keras.layers.Dense(1, kernel_regularizer=keras.regularizers.L2(0.1))(inputs)
model = Custom(inputs, outputs)
model.compile("sgd", keras.losses.MeanSquaredError())
model.fit(np.ones((8, 3), "float32"), np.ones((8, 1), "float32"), verbose=0)
