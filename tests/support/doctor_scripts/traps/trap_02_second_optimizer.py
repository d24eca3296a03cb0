"""Two optimizers: one for the features, one for the head."""

# backends: jax

import jax
import keras
import numpy as np


class TwoRates(keras.Model):
    def build_head(self):
        self.head_optimizer = keras.optimizers.Adam(0.01)
        self.head_optimizer.build(self.trainable_variables[2:])

    def train_step(self, state, data):
        trainable, rest, slots, metrics = state
        x, y = data
        gradient = jax.value_and_grad(self.compute_loss_and_updates, has_aux=True)
        (_, (loss, _, rest, metrics)), grads = gradient(
            trainable, rest, metrics, x, y, None, training=True, optimizer_variables=slots
        )
        features, slots = self.optimizer.stateless_apply(slots, grads[:2], trainable[:2])
        own = [variable.value for variable in self.head_optimizer.variables]
        head, own = self.head_optimizer.stateless_apply(own, grads[2:], trainable[2:])
        return {"loss": loss}, ([*features, *head], rest, slots, metrics)


inputs = keras.Input((3,))
model = TwoRates(inputs, keras.layers.Dense(1)(keras.layers.Dense(4)(inputs)))
model.compile(keras.optimizers.SGD(0.1), "mse")
model.optimizer.build(model.trainable_variables[:2])
model.build_head()
model.fit(np.ones((8, 3), "float32"), np.ones((8, 1), "float32"), epochs=3, verbose=0)
