"""
A sampler of your own
=====================

A sampler is a small frozen configuration; its plan defines which sample is drawn at which position of an epoch. The
plan is a pure function: it keeps no state, so training can be resumed, sharded, and read ahead by several threads.

This one is a curriculum. The first epoch draws from the easiest tenth of the samples, the last one from all.
"""

from dataclasses import dataclass
from typing import Any

import keras
import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits

import tailfit
from tailfit.samplers import Plan, Sampler


@dataclass(frozen=True, kw_only=True)
class EasyFirst(Sampler):
    difficulty: Any  # one number per sample
    epochs: int

    def plan(self, labels, seed=0, batch_size=None):
        return EasyFirstPlan(self, labels, seed, batch_size)


class EasyFirstPlan(Plan):
    def __init__(self, sampler, labels, seed, batch_size):
        super().__init__(size=len(labels), seed=seed, batch_size=batch_size)  # as many draws as samples
        self._labels = np.asarray(labels)
        self._from_easy_to_hard = np.argsort(sampler.difficulty)
        self._epochs = sampler.epochs

    @property
    def labels(self):
        return self._labels

    def _pool(self, epoch):
        share = min(1.0, 0.1 + 0.9 * epoch / (self._epochs - 1))
        return self._from_easy_to_hard[: max(1, round(share * len(self._labels)))]

    def _draw(self, epoch, positions):
        # Seeded by the epoch, not by what was drawn before.
        order = np.random.default_rng([self.seed, epoch]).permutation(len(self._labels))
        pool = self._pool(epoch)
        return pool[order[positions] % len(pool)]

    def _class_sums(self, weights, epoch):
        # The expected draws of each class, which losses such as LogitAdjusted ask for.
        pool = self._pool(epoch)
        weights = np.ones(len(self._labels)) if weights is None else weights
        sums = np.bincount(self._labels[pool], weights[pool], minlength=self._labels.max() + 1)
        return sums * (len(self._labels) / len(pool))


# %%
# Samples far from the mean of their class are difficult. ``Batches`` takes the sampler like any other.

x, y = load_digits(return_X_y=True)
x = (x / 16).astype("float32")
means = np.stack([x[y == k].mean(axis=0) for k in range(10)])
difficulty = np.linalg.norm(x - means[y], axis=1)

batches = tailfit.Batches(tailfit.data.Arrays(x, y), 64, EasyFirst(difficulty=difficulty, epochs=10), seed=0)
keras.utils.set_random_seed(0)
model = tailfit.networks.mlp((64,), 10, units=(32,))
model.compile(keras.optimizers.Adam(3e-3), tailfit.losses.CrossEntropy(from_logits=True))
history = model.fit(batches, epochs=10, verbose=0).history
print("training loss:", [round(value, 2) for value in history["loss"]])

# %%
# What each epoch drew:

drawn = [np.concatenate([batches.indices(epoch, step) for step in range(len(batches))]) for epoch in range(10)]
plt.violinplot([difficulty[indices] for indices in drawn], range(10), showmedians=True)
plt.xlabel("epoch")
plt.ylabel("difficulty of the samples drawn")
plt.show()
