"""
Two stages: features first, then the classifier
===============================================

Features learned from imbalanced data are good; the bias is in the last layer (Kang et al. 2020). The first stage is a
plain training. The second keeps the features, and corrects the last layer in one of three ways.
"""

import keras
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
# The first stage:

keras.utils.set_random_seed(0)
model = tailfit.networks.mlp((64,), 10, units=(64, 64))
model.compile(keras.optimizers.Adam(3e-3), tailfit.losses.CrossEntropy(from_logits=True))
model.fit(tailfit.Batches(train, 32, seed=0), epochs=20, verbose=0)
first_stage = model.get_weights()

# %%
# The second, each time from the weights of the first: train the last layer anew on balanced batches, learn one factor
# per class, or divide the weights of a class by their norm.

balanced = tailfit.Batches(train, 32, tailfit.samplers.ClassBalanced(), seed=0)
second_stages = {
    "first stage only": lambda: None,
    "retrain_classifier": lambda: tailfit.stages.retrain_classifier(model, balanced, epochs=5, verbose=0),
    "learn_scales": lambda: tailfit.stages.learn_scales(model, balanced, epochs=5),
    "normalize_classifier": lambda: tailfit.stages.normalize_classifier(model),
}
recalls = {}
for name, second_stage in second_stages.items():
    model.set_weights(first_stage)
    second_stage()
    scores = model.predict(tailfit.Batches(test, 256), verbose=0)
    evaluation = tailfit.evaluate(test.labels, scores)
    recalls[name] = [k.recall for k in evaluation.classes]
    print(f"{name:21} balanced accuracy {evaluation.balanced_accuracy}")

# %%
# The recall of each class. The rarest ones gain most from a new classifier.

for name, values in recalls.items():
    plt.plot(values, "o-", label=name)
plt.xticks(range(10), counts)
plt.xlabel("training samples of the class")
plt.ylabel("recall")
plt.legend(loc="lower left")
plt.show()
