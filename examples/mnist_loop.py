"""
A training loop from scratch: MNIST
===================================

The loop of Keras' guide, epoch by epoch and batch by batch, with the same code on every backend. ``tailfit.function``
compiles a function and finds the model, the optimizer and the metrics that it reads and updates.
"""

import os
import time

import keras
import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits

import tailfit

# %%
# Images of 28 x 28 pixels from 0 to 255, as MNIST has them. The gallery enlarges the 1,797 digits that scikit-learn
# ships, so that nothing is downloaded; for MNIST itself, set ``MNIST`` to the path of its ``mnist.npz``. A sixth is
# held out for validation.

if path := os.environ.get("MNIST"):
    with np.load(path) as file:
        images, y = file["x_train"], file["y_train"]
else:
    digits = load_digits()
    images = np.pad(digits.images.repeat(2, axis=1).repeat(2, axis=2), [(0, 0), (6, 6), (6, 6)]) * (255 / 16)
    y = digits.target
x = images.reshape(len(images), 784).astype("float32") / 255
held_out = len(x) // 6
train = tailfit.Batches(tailfit.data.Arrays(x[:-held_out], y[:-held_out]), 64)
validation = tailfit.Batches(tailfit.data.Arrays(x[-held_out:], y[-held_out:]), 64, tailfit.samplers.Sequential())

# %%
# A network of 784-64-64-10 and Adam:

keras.utils.set_random_seed(0)
model = keras.Sequential(
    [
        keras.Input((784,)),
        keras.layers.Dense(64, activation="relu"),
        keras.layers.Dense(64, activation="relu"),
        keras.layers.Dense(10),
    ]
)
optimizer = keras.optimizers.Adam(learning_rate=1e-3)
loss_function = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
train_accuracy = keras.metrics.SparseCategoricalAccuracy()
validation_accuracy = keras.metrics.SparseCategoricalAccuracy()


@tailfit.function
def train_on(x, y):
    def forward():
        logits = model(x, training=True)
        return loss_function(y, logits), logits

    (loss, logits), gradients = tailfit.value_and_grad(forward, model.trainable_variables)
    optimizer.apply(gradients, model.trainable_variables)
    train_accuracy.update_state(y, logits)
    return loss


@tailfit.function
def validate_on(x, y):
    validation_accuracy.update_state(y, model(x, training=False))


# %%
# The loop:

losses = []
for epoch in range(11):
    started = time.perf_counter()
    for x_batch, y_batch in train.iterate(epoch):
        losses.append(float(train_on(x_batch, y_batch)))
    for x_batch, y_batch in validation.iterate(0):
        validate_on(x_batch, y_batch)
    accuracy = float(validation_accuracy.result())
    if epoch % 5 == 0:
        print(
            f"epoch {epoch}: training accuracy {float(train_accuracy.result()):.3f}, "
            f"validation accuracy {accuracy:.3f}, {time.perf_counter() - started:.2f} s"
        )
    train_accuracy.reset_state()
    validation_accuracy.reset_state()

# %%
# The first epoch takes longer: it compiles. These are the loss, and the first images held out with the predicted digit.

figure, axes = plt.subplot_mosaic("LLabc;LLdef", figsize=(8, 3))
axes["L"].plot(losses)
axes["L"].set_xlabel("step")
axes["L"].set_ylabel("training loss")
predicted = model.predict(x[-held_out:], verbose=0).argmax(axis=1)
for name, image, digit in zip("abcdef", images[-held_out:], predicted):
    axes[name].imshow(image, cmap="gray_r")
    axes[name].set_title(digit)
    axes[name].axis("off")
plt.tight_layout()
plt.show()
