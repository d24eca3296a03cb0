"""
Class weights from one-hot labels
=================================

``class_weights`` computes n / (number of classes * count) from labels of any form. Keras' ``class_weight=`` accepts the
dict; ``Batches(class_weight=...)`` also combines it with sample weights, which Keras does not allow.
"""

import keras
import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits

import tailfit

# %%
# Handwritten digits. A third is the test part; in the rest, nine of ten eights are left out.

x, digits = load_digits(return_X_y=True)
x = (x / 16).astype("float32")
number = np.arange(len(digits))
test = number % 3 == 0
train = ~test & ((digits != 8) | (number % 10 == 0))

y = keras.utils.to_categorical(digits[train], 10)
weights = tailfit.weights.class_weights(y)
print("balanced:        ", {k: round(w, 2) for k, w in weights.items()})
effective = tailfit.weights.class_weights(y, "effective_number", beta=0.999)
print("effective number:", {k: round(w, 2) for k, w in effective.items()})

# %%
# The same network, without and with the weights:

evaluations = {}
for name, class_weight in {"without": None, "with class weights": weights}.items():
    keras.utils.set_random_seed(0)
    inputs = keras.Input((64,))
    model = keras.Model(inputs, keras.layers.Dense(10)(keras.layers.Dense(16, activation="relu")(inputs)))
    model.compile(keras.optimizers.Adam(3e-3), keras.losses.CategoricalCrossentropy(from_logits=True))
    model.fit(x[train], y, epochs=8, class_weight=class_weight, verbose=0)
    evaluations[name] = tailfit.evaluate(digits[test], model.predict(x[test], verbose=0))
    print(f"{name:19} recall of the eights {evaluations[name].classes[8].recall}")

# %%
# The recall of each class. The eights gain; classes that look like them may lose a little.

for shift, (name, evaluation) in zip((-0.2, 0.2), evaluations.items()):
    plt.bar(np.arange(10) + shift, [k.recall for k in evaluation.classes], width=0.4, label=name)
plt.xticks(range(10))
plt.xlabel("digit")
plt.ylabel("recall")
plt.legend(loc="lower left")
plt.show()
