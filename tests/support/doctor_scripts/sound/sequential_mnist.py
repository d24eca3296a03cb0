"""Simple MNIST convnet, as in the Keras examples, on random digits."""

import keras
import numpy as np
from keras import layers

rng = np.random.default_rng(0)
x_train, y_train = rng.random((64, 8, 8, 1), dtype="float32"), keras.utils.to_categorical(np.arange(64) % 4, 4)
model = keras.Sequential(
    [
        keras.Input((8, 8, 1)),
        layers.Conv2D(4, 3, activation="relu"),
        layers.MaxPooling2D(2),
        layers.Flatten(),
        layers.Dropout(0.5),
        layers.Dense(4, activation="softmax"),
    ]
)
model.compile(loss="categorical_crossentropy", optimizer="adam", metrics=["accuracy"])
history = model.fit(x_train, y_train, batch_size=16, epochs=3, validation_split=0.25, verbose=0)
assert len(history.history["val_loss"]) == 3
score = model.evaluate(x_train, y_train, verbose=0)
print("loss:", score[0], "accuracy:", score[1])
assert model.predict(x_train, verbose=0).shape == (64, 4)
