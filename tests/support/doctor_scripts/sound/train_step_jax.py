"""`train_step` for JAX, as in the guide, with a regularizer."""

# backends: jax

import jax
import keras
import numpy as np


class CustomModel(keras.Model):
    def train_step(self, state, data):
        trainable, rest, slots, metrics = state
        x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(data)
        gradient = jax.value_and_grad(self.compute_loss_and_updates, has_aux=True)
        (_, (loss, y_pred, rest, metrics)), grads = gradient(
            trainable, rest, metrics, x, y, sample_weight, training=True, optimizer_variables=slots
        )
        trainable, slots = self.optimizer.stateless_apply(slots, grads, trainable)
        new_metrics = []
        logs = {}
        for metric in self.metrics:
            own = metrics[len(new_metrics) : len(new_metrics) + len(metric.variables)]
            own = (
                metric.stateless_update_state(own, loss)
                if metric.name == "loss"
                else metric.stateless_update_state(own, y, y_pred)
            )
            logs[metric.name] = metric.stateless_result(own)
            new_metrics += own
        return logs, (trainable, rest, slots, new_metrics)


inputs = keras.Input((6,))
model = CustomModel(inputs, keras.layers.Dense(1, kernel_regularizer="l2")(keras.layers.Dropout(0.2, seed=1)(inputs)))
model.compile("adam", "mse", metrics=["mae"])
rng = np.random.default_rng(0)
model.fit(rng.random((32, 6), dtype="float32"), rng.random((32, 1), dtype="float32"), epochs=2, verbose=0)
