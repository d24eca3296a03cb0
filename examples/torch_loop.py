"""
A loop in plain PyTorch
=======================

Sampler, weights, losses and evaluation need no Keras model. This loop is PyTorch's own, with its modules and
optimizers.
"""

import os

os.environ["KERAS_BACKEND"] = "torch"  # before the import: losses of tailfit compute with the backend of Keras

import matplotlib.pyplot as plt
import numpy as np
import torch
from sklearn.datasets import load_digits

import tailfit

digits = load_digits()
x = (digits.data / 16).astype("float32")
train, test = tailfit.data.Arrays(x, digits.target).split(0.6, 0.4, seed=0)
counts = [round(100 * 33 ** (-k / 9)) for k in range(10)]
kept = np.concatenate([np.flatnonzero(train.labels == k)[:count] for k, count in enumerate(counts)])
train = tailfit.data.Arrays(train.read(kept), train.labels[kept])

# %%
# ``to_torch`` makes a ``DataLoader`` of batches: each pass over it is the next epoch, in the order of the sampler.

batches = tailfit.Batches(train, 32, tailfit.samplers.ClassBalanced(power=0.5), seed=0)
loader = tailfit.data.to_torch(batches)
loss_function = tailfit.losses.LogitAdjusted(batches.class_counts, from_logits=True)

torch.manual_seed(0)
model = torch.nn.Sequential(torch.nn.Linear(64, 64), torch.nn.ReLU(), torch.nn.Linear(64, 10))
optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
losses = []
for epoch in range(20):
    for x_batch, y_batch in loader:
        optimizer.zero_grad()
        loss = loss_function(y_batch, model(x_batch))
        loss.backward()
        optimizer.step()
        losses.append(loss.item())

# %%
# ``evaluate`` takes any scores:

with torch.no_grad():
    scores = model(torch.from_numpy(test.read(np.arange(len(test))))).numpy()
evaluation = tailfit.evaluate(test.labels, scores, train_counts=train.class_counts, name="torch")
print(evaluation)

# %%
# The loss of each step:

plt.plot(losses)
plt.xlabel("step")
plt.ylabel("training loss")
plt.show()
