"""
Wrong labels
============

Three labels in ten are wrong. Networks that have not seen a sample say how plausible its label is, which becomes a
weight in [0, 1]; nothing is thrown away by hand.
"""

import keras
import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits

import tailfit

rng = np.random.default_rng(0)
x, truth = load_digits(return_X_y=True)
x = (x / 16).astype("float32")
wrong = rng.random(len(truth)) < 0.3
labels = np.where(wrong, (truth + rng.integers(1, 10, len(truth))) % 10, truth)
test = np.arange(len(x)) % 3 == 0
source = tailfit.data.Arrays(x[~test], labels[~test])


def trained(data):
    keras.utils.set_random_seed(0)
    model = tailfit.networks.mlp((64,), 10, units=(128,))
    model.compile(keras.optimizers.Adam(3e-3), tailfit.losses.CrossEntropy(from_logits=True))
    model.fit(data, epochs=30, verbose=0)
    return model


# %%
# Out-of-fold probabilities: each sample is scored by the network that was trained without it. From a shell,
# ``tailfit suspects RECIPE`` does the same and lists the worst.

logits = np.empty((len(source), 10), "float32")
for train, validation in tailfit.data.folds(source, 3, seed=0):
    logits[validation.indices] = trained(tailfit.Batches(train, 64)).predict(tailfit.Batches(validation, 64), verbose=0)
probabilities = keras.ops.convert_to_numpy(keras.ops.softmax(logits))
quality = tailfit.weights.label_quality(source, probabilities)

# %%
# The quality separates most wrong labels from right ones, and helps as a weight:

for name, weights in {"all labels alike": None, "weighted by quality": quality}.items():
    model = trained(tailfit.Batches(source, 64, sample_weight=weights))
    evaluation = tailfit.evaluate(truth[test], model.predict(x[test], verbose=0))
    print(f"{name:20} accuracy {evaluation.accuracy}")

plt.hist([quality[~wrong[~test]], quality[wrong[~test]]], bins=20, stacked=True, label=["right label", "wrong label"])
plt.xlabel("quality of the label")
plt.ylabel("samples")
plt.legend()
plt.show()
