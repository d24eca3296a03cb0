"""A time limit that stops within an epoch, with worker threads."""

import time

import keras
import numpy as np


class Data(keras.utils.PyDataset):
    def __len__(self):
        return 50

    def __getitem__(self, index):
        return np.ones((4, 3), "float32"), np.ones((4, 1), "float32")


class TimeLimit(keras.callbacks.Callback):
    def on_train_begin(self, logs=None):
        self.begin = time.monotonic()

    def on_train_batch_end(self, batch, logs=None):
        if time.monotonic() - self.begin > 60:
            self.model.stop_training = True


model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1)])
model.compile("sgd", "mse")
model.fit(Data(workers=4), callbacks=[TimeLimit()], verbose=0)
