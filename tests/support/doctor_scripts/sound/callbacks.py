"""Callbacks of Keras and of one's own."""

import keras
import numpy as np


class Progress(keras.callbacks.Callback):
    def __init__(self):
        super().__init__()
        self.losses, self.kernels, self.epochs = [], [], 0

    def on_train_batch_end(self, batch, logs=None):
        self.losses.append(logs["loss"])
        self.kernels.append(np.array(keras.ops.convert_to_numpy(self.model.layers[-1].kernel)))

    def on_epoch_end(self, epoch, logs=None):
        self.epochs += 1
        if logs["loss"] < 1e-9:
            self.model.stop_training = True


rng = np.random.default_rng(0)
x, y = rng.random((32, 3), dtype="float32"), rng.random((32, 1), dtype="float32")
model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1)])
model.compile("adam", "mse", metrics=["mae"])
callbacks = [
    Progress(),
    keras.callbacks.EarlyStopping(patience=3, restore_best_weights=True),
    keras.callbacks.ReduceLROnPlateau(patience=2),
    keras.callbacks.LearningRateScheduler(lambda epoch: 0.01 * 0.5**epoch),
    keras.callbacks.LambdaCallback(on_epoch_begin=lambda epoch, logs: None),
    keras.callbacks.TerminateOnNaN(),
]
model.fit(x, y, epochs=3, validation_split=0.25, callbacks=callbacks, verbose=0)
