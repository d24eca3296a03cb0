"""
Several labels per sample
=========================

Records in which several faults can be present at once, some of them rare: one sigmoid output per fault. An asymmetric
loss keeps the many absent labels from outvoting the few present ones.
"""

import keras
import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits
from sklearn.metrics import average_precision_score

import tailfit

# %%
# A sample shows up to three digits on top of each other, and its label is a row of ten zeros and ones. High digits are
# rare.


def overlays(count, shares, seed):
    rng = np.random.default_rng(seed)
    images, digits = load_digits(return_X_y=True)
    x, y = np.zeros((count, 64), "float32"), np.zeros((count, 10), "float32")
    for row in range(count):
        for digit in rng.choice(10, size=rng.integers(1, 4), replace=False, p=shares):
            x[row] = np.maximum(x[row], images[rng.choice(np.flatnonzero(digits == digit))] / 16)
            y[row, digit] = 1
    return x, y


shares = 0.6 ** np.arange(10)
x, y = overlays(2000, shares / shares.sum(), seed=0)
x_test, y_test = overlays(1000, np.full(10, 0.1), seed=1)
print("samples with each label:", y.sum(axis=0).astype(int))

# %%
# The same network with three losses:

precision = {}
for name, loss in {
    "binary cross-entropy": keras.losses.BinaryCrossentropy(from_logits=True),
    "asymmetric": tailfit.losses.Asymmetric(from_logits=True),
    "distribution-balanced": tailfit.losses.DistributionBalanced(y.sum(axis=0), num_samples=len(y), from_logits=True),
}.items():
    keras.utils.set_random_seed(0)
    model = tailfit.networks.mlp((64,), 10, units=(64,))
    model.compile(keras.optimizers.Adam(3e-3), loss)
    model.fit(x, y, epochs=15, verbose=0)
    scores = model.predict(x_test, verbose=0)
    precision[name] = average_precision_score(y_test, scores, average=None)
    print(f"{name:22} mean average precision {precision[name].mean():.3f}")

# %%
# Average precision measures how well the samples of a label are ranked first. The losses differ most where labels are
# rare.

for name, values in precision.items():
    plt.plot(values, "o-", label=name)
plt.xticks(range(10), [f"{k}\n({count:.0f})" for k, count in enumerate(y.sum(axis=0))])
plt.xlabel("label (training samples)")
plt.ylabel("average precision on the test part")
plt.legend()
plt.tight_layout()
plt.show()
