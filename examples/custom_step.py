"""
A custom training step
======================

``train_step(self, data)`` has the same signature and code on every backend. This one trains with two optimizers, a slow
one for the body and a fast one for the head, and logs the norm of the gradient. ``fit`` still takes care of callbacks,
validation, metrics and progress.
"""

import keras
import matplotlib.pyplot as plt
from keras import ops
from sklearn.datasets import load_digits

import tailfit


class TwoSpeeds(tailfit.Model):
    def __init__(self, units, classes):
        super().__init__()
        self.body = keras.layers.Dense(units, activation="relu")
        self.head = keras.layers.Dense(classes)
        self.head_optimizer = keras.optimizers.Adam(1e-2)
        self.gradient_norm = keras.metrics.Mean(name="gradient_norm")

    def call(self, x):
        return self.head(self.body(x))

    def train_step(self, data):
        x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(data)
        body, head = self.body.trainable_variables, self.head.trainable_variables

        def forward():
            y_pred = self(x)
            return self.compute_loss(x, y, y_pred, sample_weight), y_pred

        (loss, y_pred), gradients = tailfit.value_and_grad(forward, body + head)
        self.optimizer.apply(gradients[: len(body)], body)
        self.head_optimizer.apply(gradients[len(body) :], head)

        self.gradient_norm.update_state(ops.sqrt(sum(ops.sum(ops.square(g)) for g in gradients)))
        return self.update_metrics(loss, x, y, y_pred, sample_weight)


# %%
# Calling the model once creates its variables, so that the optimizer can be built for those of the body alone.

keras.utils.set_random_seed(0)
x, y = load_digits(return_X_y=True)
x = (x / 16).astype("float32")
model = TwoSpeeds(units=32, classes=10)
model(x[:1])
loss = tailfit.losses.CrossEntropy(from_logits=True)
model.compile(keras.optimizers.Adam(1e-3), loss, metrics=[tailfit.metrics.BalancedAccuracy()])
model.optimizer.build(model.body.trainable_variables)
history = model.fit(x[:1400], y[:1400], validation_data=(x[1400:], y[1400:]), epochs=8, verbose=0).history

for name in ("gradient_norm", "balanced_accuracy", "val_balanced_accuracy"):
    print(f"{name:22}", *(f"{value:.2f}" for value in history[name]))
    plt.plot(range(1, 9), history[name], marker="o", label=name)
plt.xlabel("epoch")
plt.legend()
plt.show()
