"""
A loop in plain JAX
===================

Sampler, weights, losses and evaluation need no Keras model. This loop is plain JAX: parameters in a dict, and one
compiled step.
"""

import os

os.environ["KERAS_BACKEND"] = "jax"  # before the import: losses of tailfit compute with the backend of Keras

import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits

import tailfit

digits = load_digits()
x = (digits.data / 16).astype("float32")
train, test = tailfit.data.Arrays(x, digits.target).split(0.6, 0.4, seed=0)
counts = [round(100 * 33 ** (-k / 9)) for k in range(10)]
kept = np.concatenate([np.flatnonzero(train.labels == k)[:count] for k, count in enumerate(counts)])
train = tailfit.data.Arrays(train.read(kept), train.labels[kept])

# %%
# Batches are NumPy arrays. All have one shape with ``drop_remainder=True``, so the step compiles once.

batches = tailfit.Batches(train, 32, tailfit.samplers.ClassBalanced(power=0.5), seed=0, drop_remainder=True)
loss_function = tailfit.losses.LogitAdjusted(batches.class_counts, from_logits=True)


def network(parameters, x):
    hidden = jax.nn.relu(x @ parameters["w1"] + parameters["b1"])
    return hidden @ parameters["w2"] + parameters["b2"]


@jax.jit
def step(parameters, velocity, x, y):
    loss, gradient = jax.value_and_grad(lambda parameters: loss_function(y, network(parameters, x)))(parameters)
    velocity = jax.tree.map(lambda v, g: 0.9 * v + g, velocity, gradient)
    return jax.tree.map(lambda p, v: p - 0.03 * v, parameters, velocity), velocity, loss


keys = jax.random.split(jax.random.key(0))
parameters = {
    "w1": jax.random.normal(keys[0], (64, 64)) * 0.15,
    "b1": jnp.zeros(64),
    "w2": jax.random.normal(keys[1], (64, 10)) * 0.15,
    "b2": jnp.zeros(10),
}
velocity = jax.tree.map(jnp.zeros_like, parameters)
losses = []
for epoch in range(20):
    for x_batch, y_batch in batches.iterate(epoch):
        parameters, velocity, loss = step(parameters, velocity, x_batch, y_batch)
        losses.append(float(loss))

# %%
# ``evaluate`` takes any scores:

scores = np.asarray(network(parameters, test.read(np.arange(len(test)))))
evaluation = tailfit.evaluate(test.labels, scores, train_counts=train.class_counts, name="JAX")
print(evaluation)

# %%
# The loss of each step:

plt.plot(losses)
plt.xlabel("step")
plt.ylabel("training loss")
plt.show()
