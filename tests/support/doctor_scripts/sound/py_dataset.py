"""A PyDataset as in its documentation: a short last batch, its own order, augmentation seeded by batch."""

import math

import keras
import numpy as np


class Records(keras.utils.PyDataset):
    def __init__(self, x, y, batch_size, seed=0, **options):
        super().__init__(**options)
        self.x, self.y, self.batch_size, self.seed = x, y, batch_size, seed
        self.order = np.arange(len(x))

    def __len__(self):
        return math.ceil(len(self.x) / self.batch_size)

    def __getitem__(self, index):
        low = index * self.batch_size
        rows = self.order[low : min(low + self.batch_size, len(self.x))]
        rng = np.random.default_rng((self.seed, index))
        x = np.empty((len(rows), *self.x.shape[1:]), "float32")
        for i, row in enumerate(rows):
            x[i] = self.x[row] + rng.normal(scale=0.01, size=self.x.shape[1:])
        return x, self.y[rows]

    def on_epoch_end(self):
        np.random.shuffle(self.order)


rng = np.random.default_rng(0)
data = Records(rng.random((38, 5), dtype="float32"), rng.integers(0, 2, 38), 8, workers=2)
model = keras.Sequential([keras.Input((5,)), keras.layers.Dense(2, activation="softmax")])
model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
model.fit(data, epochs=2, verbose=0)
model.evaluate(data, verbose=0)
