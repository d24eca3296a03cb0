"""
Sample weights by class name and by condition
=============================================

``sample_weights`` returns one number per sample, for ``fit(sample_weight=...)`` or ``Batches(sample_weight=...)``:
from a table of classes, or from SQL conditions on the metadata. The results can be multiplied.
"""

import keras
import matplotlib.pyplot as plt
import numpy as np
import polars as pl

import tailfit

causes = ["ok", "ok", "valve leak", "ok", "pump wear", "ok", "valve leak", "ok"]
records = np.random.default_rng(0).normal(size=(8, 20, 3)).astype("float32")  # 8 records of 20 readings, 3 sensors
metadata = pl.DataFrame({"site": ["A", "B", "B", "A", "B", "A", "A", "B"], "snr": [9, 2, 8, 7, 1, 6, 5, 2]})
source = tailfit.data.Arrays(records, causes, metadata=metadata)

by_class = tailfit.weights.sample_weights(causes, {"valve leak": 1.5, "pump wear": 3.0})
print("by class:    ", by_class)
by_condition = tailfit.weights.sample_weights(source, {"site = 'B' AND snr < 3": 0.5})
print("by condition:", by_condition)
weights = by_class * by_condition

# %%
# ``Batches`` multiplies class weights and sample weights; Keras raises an error if both are passed to ``fit``.

batches = tailfit.Batches(source, batch_size=4, class_weight="balanced", sample_weight=weights)
x, y, w = batches[0]
print("a batch:", x.shape, y, w)

keras.utils.set_random_seed(0)
inputs = keras.Input((20, 3))
model = tailfit.Model(inputs, keras.layers.Dense(3)(keras.layers.GlobalAveragePooling1D()(inputs)))
model.compile("adam", tailfit.losses.CrossEntropy(from_logits=True))
history = model.fit(batches, epochs=2, verbose=0).history

# %%
# The weight of each record:

for name, values, width in [("by class", by_class, 0.8), ("by class and condition", weights, 0.5)]:
    plt.bar(range(8), values, width=width, label=name)
plt.xticks(range(8), [f"{cause}\nsite {site}" for cause, site in zip(causes, metadata["site"])], fontsize=7)
plt.ylabel("weight")
plt.legend()
plt.show()
