"""
A custom step for two networks: a GAN
=====================================

A generator draws digits, a discriminator tells them from real ones, and each has its own loss and optimizer. The step
computes two gradients; it is compiled as one program on every backend.
"""

import keras
import matplotlib.pyplot as plt
import numpy as np
from keras import ops
from sklearn.datasets import load_digits

import tailfit

NOISE = 16


def network(outputs, activation=None):
    layers = [keras.layers.Dense(units, activation="leaky_relu") for units in (64, 64)]
    return keras.Sequential([*layers, keras.layers.Dense(outputs, activation=activation)])


class GAN(tailfit.Model):
    def __init__(self):
        super().__init__()
        self.generator = network(64, "sigmoid")
        self.discriminator = network(1)
        self.generator_optimizer = keras.optimizers.Adam(5e-4, beta_1=0.5)
        self.seeds = keras.random.SeedGenerator(0)

    def build(self, input_shape):
        self.generator.build((None, NOISE))
        self.discriminator.build((None, 64))

    def call(self, noise):
        return self.generator(noise)

    def train_step(self, data):
        real, _, _ = keras.utils.unpack_x_y_sample_weight(data)
        noise = keras.random.normal((ops.shape(real)[0], NOISE), seed=self.seeds)

        def discriminator_loss():
            on_real, on_drawn = self.discriminator(real), self.discriminator(self.generator(noise))
            return ops.mean(ops.softplus(-on_real)) + ops.mean(ops.softplus(on_drawn))

        def generator_loss():
            return ops.mean(ops.softplus(-self.discriminator(self.generator(noise))))

        variables = self.discriminator.trainable_variables
        loss, gradients = tailfit.value_and_grad(discriminator_loss, variables)
        self.optimizer.apply(gradients, variables)

        variables = self.generator.trainable_variables
        generator, gradients = tailfit.value_and_grad(generator_loss, variables)
        self.generator_optimizer.apply(gradients, variables)
        return {"discriminator": loss, "generator": generator}


# %%
# Only ``fit`` and ``compile`` are needed around it. There are no labels.

keras.utils.set_random_seed(0)
x = (load_digits().data / 16).astype("float32")
model = GAN()
model.build((None, NOISE))
model.compile(keras.optimizers.Adam(5e-4, beta_1=0.5))
model.optimizer.build(model.discriminator.trainable_variables)
history = model.fit(x, batch_size=64, epochs=150, verbose=0).history
print({name: round(float(values[-1]), 2) for name, values in history.items()})

# %%
# Digits that nobody has written:

drawn = model.predict(np.random.default_rng(0).normal(size=(40, NOISE)), verbose=0)
figure, axes = plt.subplots(4, 10, figsize=(8, 3.4))
for axis, image in zip(axes.flat, drawn):
    axis.imshow(image.reshape(8, 8), cmap="gray_r")
    axis.axis("off")
plt.show()
