"""
Images with a long tail
=======================

Ten classes of images, of which the most frequent has a hundred and the rarest three. Balanced softmax corrects the
imbalance in the loss, and Mixup makes the few images go further; both are arguments of ``compile``.
"""

import keras
import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits

import tailfit

# %%
# Handwritten digits of 8 x 8 pixels. Only the training part has a long tail.

digits = load_digits()
images = (digits.images[..., np.newaxis] / 16).astype("float32")
train, test = tailfit.data.Arrays(images, digits.target).split(0.6, 0.4, seed=0)
counts = [round(100 * 33 ** (-k / 9)) for k in range(10)]
kept = np.concatenate([np.flatnonzero(train.labels == k)[:count] for k, count in enumerate(counts)])
train = tailfit.data.Arrays(train.read(kept), train.labels[kept])
print("training images of each class:", train.class_counts)

# %%
# The same small network, without and with the two:


def network():
    keras.utils.set_random_seed(0)
    inputs = keras.Input((8, 8, 1))
    x = keras.layers.Conv2D(16, 3, activation="relu")(inputs)
    x = keras.layers.Conv2D(32, 3, activation="relu")(x)
    x = keras.layers.Dense(64, activation="relu")(keras.layers.Flatten()(x))
    return tailfit.Model(inputs, keras.layers.Dense(10)(x))


batches = tailfit.Batches(train, 32, seed=0)
evaluations = {}
for name, loss, steps in [
    ("plain", tailfit.losses.CrossEntropy(from_logits=True), []),
    (
        "balanced softmax and Mixup",
        tailfit.losses.BalancedSoftmax(batches.class_counts, from_logits=True),
        [tailfit.steps.Mixup(alpha=0.2)],
    ),
]:
    model = network()
    model.compile(keras.optimizers.Adam(3e-3), loss, steps=steps)
    model.fit(batches, epochs=15, verbose=0)
    scores = model.predict(tailfit.Batches(test, 256), verbose=0)
    evaluations[name] = tailfit.evaluate(test.labels, scores, train_counts=train.class_counts)
    print(f"{name:27} balanced accuracy {evaluations[name].balanced_accuracy}")

# %%
# The recall of each class, with an image of it:

figure, axes = plt.subplot_mosaic("0123456789" + ";rrrrrrrrrr" * 4, figsize=(7, 4), layout="constrained")
for k in range(10):
    axes[str(k)].imshow(images[digits.target == k][0], cmap="gray_r")
    axes[str(k)].axis("off")
for shift, (name, evaluation) in zip((-0.2, 0.2), evaluations.items()):
    axes["r"].bar(np.arange(10) + shift, [k.recall for k in evaluation.classes], width=0.4, label=name)
axes["r"].set_xticks(range(10), counts)
axes["r"].set_xlim(-0.5, 9.5)
axes["r"].set_xlabel("training images")
axes["r"].set_ylabel("recall")
axes["r"].legend(loc="lower left")
plt.show()
