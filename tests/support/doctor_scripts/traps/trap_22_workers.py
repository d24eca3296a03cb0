"""Random augmentation in worker processes."""

import keras
import numpy as np


class Augmented(keras.utils.PyDataset):
    def __len__(self):
        return 6

    def __getitem__(self, index):
        noise = np.random.normal(size=(4, 3))
        return (1 + noise).astype("float32"), np.ones((4, 1), "float32")


model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1)])
model.compile("sgd", "mse")
model.fit(Augmented(workers=2, use_multiprocessing=True), verbose=0)
