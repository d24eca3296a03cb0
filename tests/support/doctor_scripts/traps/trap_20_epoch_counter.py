"""A curriculum that counts its epochs."""

import keras
import numpy as np


class Curriculum(keras.utils.PyDataset):
    def __init__(self):
        super().__init__()
        self.epoch = 0

    def __len__(self):
        return 4

    def __getitem__(self, index):
        level = min(1.0, 0.25 * (1 + self.epoch))
        return np.full((4, 3), level, "float32"), np.ones((4, 1), "float32")

    def on_epoch_end(self):
        self.epoch += 1


model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1)])
model.compile("sgd", "mse")
model.fit(Curriculum(), epochs=3, verbose=0)
