"""A data set that is told not to shuffle, and a fit that does."""

import keras
import numpy as np


class Ordered(keras.utils.PyDataset):
    def __init__(self, x, y, shuffle=False, **options):
        super().__init__(**options)
        self.x, self.y, self.shuffle = x, y, shuffle

    def __len__(self):
        return 5

    def __getitem__(self, index):
        at = slice(4 * index, 4 * index + 4)
        return self.x[at], self.y[at]


model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1)])
model.compile("sgd", "mse")
model.fit(Ordered(np.ones((20, 3), "float32"), np.ones((20, 1), "float32"), shuffle=False), verbose=0)
