"""Custom losses: pass any function of (y_true, y_pred), or a loss of tailfit, to `compile`.

Keras calls the function with a batch and averages the losses of the samples. The labels below are one-hot, as
`categorical_crossentropy` requires; tailfit's losses accept both one-hot labels and class indices.
"""

import keras
import numpy as np
from keras import ops
from sklearn.datasets import load_digits

import tailfit

x, codes = load_digits(return_X_y=True)
x, y = (x / 16.0).astype("float32"), keras.utils.to_categorical(codes, 10)


def custom_loss(y_true, y_pred):
    """Return cross-entropy minus 0.1 times the entropy of the prediction, a penalty on confidence, per sample."""
    y_pred = ops.clip(y_pred, 1e-7, 1.0)
    cross_entropy = -ops.sum(y_true * ops.log(y_pred), axis=-1)
    entropy = -ops.sum(y_pred * ops.log(y_pred), axis=-1)
    return cross_entropy - 0.1 * entropy


def classifier(activation):
    inputs = keras.Input((64,))
    hidden = keras.layers.Dense(32, activation="relu")(inputs)
    return tailfit.Model(inputs, keras.layers.Dense(10, activation=activation)(hidden))


def main() -> dict[str, float]:
    heads_and_losses = {
        "custom_loss": ("softmax", custom_loss),
        "categorical_crossentropy": ("softmax", "categorical_crossentropy"),
        # Most accurate numerically: a network that outputs logits, and a loss with from_logits=True. tailfit.Model
        # raises an error if the two do not match.
        "tailfit.losses.Focal": (None, tailfit.losses.Focal(gamma=2.0, from_logits=True)),
    }
    accuracy = {}
    for name, (activation, loss) in heads_and_losses.items():
        keras.utils.set_random_seed(0)
        model = classifier(activation)
        model.compile(keras.optimizers.Adam(3e-3), loss, metrics=["accuracy"])
        history = model.fit(x, y, epochs=8, verbose=0)
        accuracy[name] = history.history["accuracy"][-1]
        print(f"{name:26} loss {history.history['loss'][-1]:.4f}  training accuracy {accuracy[name]:.4f}")
    predicted = model.predict(x, verbose=0).argmax(axis=1)
    print("recall by class:", np.round([np.mean(predicted[codes == k] == k) for k in range(10)], 2))
    return accuracy


if __name__ == "__main__":
    main()
