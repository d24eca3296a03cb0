"""
A custom loss
=============

``compile`` takes any function of ``(y_true, y_pred)``, or a loss of tailfit. Keras calls a function with a batch and
averages what it returns for the samples.
"""

import keras
import matplotlib.pyplot as plt
from keras import ops
from scipy.special import softmax
from sklearn.datasets import load_digits

import tailfit

x, digits = load_digits(return_X_y=True)
x, y = (x / 16).astype("float32"), keras.utils.to_categorical(digits, 10)

# %%
# A function of your own, for one-hot labels and probabilities: cross-entropy minus 0.1 times the entropy of the
# prediction, which penalises confidence.


def custom_loss(y_true, y_pred):
    y_pred = ops.clip(y_pred, 1e-7, 1.0)
    cross_entropy = -ops.sum(y_true * ops.log(y_pred), axis=-1)
    entropy = -ops.sum(y_pred * ops.log(y_pred), axis=-1)
    return cross_entropy - 0.1 * entropy


# %%
# Losses on logits are more accurate numerically: a network without softmax, and ``from_logits=True``. ``tailfit.Model``
# raises an error if the two do not match. Losses of tailfit take one-hot labels and class indices.


def classifier(activation):
    keras.utils.set_random_seed(0)
    inputs = keras.Input((64,))
    hidden = keras.layers.Dense(32, activation="relu")(inputs)
    return tailfit.Model(inputs, keras.layers.Dense(10, activation=activation)(hidden))


choices = {
    "custom_loss": ("softmax", custom_loss),
    "categorical_crossentropy": ("softmax", "categorical_crossentropy"),
    "tailfit.losses.Focal": (None, tailfit.losses.Focal(gamma=2.0, from_logits=True)),
}
histories, confidence = {}, {}
for name, (activation, loss) in choices.items():
    model = classifier(activation)
    model.compile(keras.optimizers.Adam(3e-3), loss, metrics=["accuracy"])
    histories[name] = model.fit(x, y, epochs=8, verbose=0).history
    scores = model.predict(x, verbose=0)
    confidence[name] = (softmax(scores, axis=1) if activation is None else scores).max(axis=1)
    print(f"{name:25} training accuracy {histories[name]['accuracy'][-1]:.3f}")

# %%
# All three learn the digits. They differ in how confident they are:

for name, values in confidence.items():
    plt.hist(values, bins=30, histtype="step", linewidth=2, label=name)
plt.xlabel("probability of the predicted class")
plt.ylabel("samples")
plt.legend(loc="upper left")
plt.show()
