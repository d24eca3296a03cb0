"""Balanced batches, drawn by hand."""

import keras
import numpy as np


class Balanced(keras.utils.PyDataset):
    def __init__(self, x, y, **options):
        super().__init__(**options)
        self.x, self.y = x, y

    def __len__(self):
        return 4

    def __getitem__(self, index):
        rows = [np.random.choice(np.flatnonzero(self.y == label), 4) for label in (0, 1)]
        rows = np.concatenate(rows)
        np.random.shuffle(rows)
        return self.x[rows], self.y[rows]


y = np.array([0] * 30 + [1] * 4)
model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2, activation="softmax")])
model.compile("sgd", "sparse_categorical_crossentropy")
model.fit(Balanced(np.ones((34, 3), "float32"), y), verbose=0)
