"""Comparison of two models to the bit, and a training step as users write it."""

from typing import Any

import keras
import numpy as np

import tailfit


class UserStep(tailfit.Model):
    """The step of the README, as a user writes it."""

    def train_step(self, data):
        x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(data)

        def forward():
            y_pred = self(x, training=True)
            return self.compute_loss(x, y, y_pred, sample_weight), y_pred

        (loss, y_pred), gradients = tailfit.value_and_grad(forward, self.trainable_variables)
        self.optimizer.apply(gradients, self.trainable_variables)
        return self.update_metrics(loss, x, y, y_pred, sample_weight)


def state(model: Any) -> dict[str, np.ndarray]:
    variables = [*model.variables, *model.optimizer.variables]
    return {f"{i} {v.path}": keras.ops.convert_to_numpy(v.value) for i, v in enumerate(variables)}


def assert_same_state(ours: Any, theirs: Any) -> None:
    a, b = state(ours), state(theirs)
    assert list(a) == list(b)
    for name in a:
        np.testing.assert_array_equal(a[name], b[name], err_msg=name)
