"""Compute class weights from one-hot labels, n_samples / (n_classes * count), and show their effect.

Keras' `class_weight=` accepts the dict that `class_weights` returns. With `Batches(class_weight=...)` it can also be
combined with sample weights, which Keras does not allow.
"""

import keras
import numpy as np
from sklearn.datasets import load_digits

import tailfit


def main() -> tuple[float, float]:
    x, codes = load_digits(return_X_y=True)
    x = (x / 16.0).astype("float32")
    kept = np.flatnonzero((codes != 8) | (np.arange(len(codes)) % 10 == 0))  # make eights rare
    x, codes = x[kept], codes[kept]
    test = np.arange(len(codes)) % 3 == 0

    y = keras.utils.to_categorical(codes[~test], 10)
    weights = tailfit.weights.class_weights(y)
    print("balanced:        ", {k: round(w, 2) for k, w in weights.items()})
    effective = tailfit.weights.class_weights(y, "effective_number", beta=0.999)
    print("effective number:", {k: round(w, 2) for k, w in effective.items()})

    recalls = []
    for class_weight in (None, weights):
        keras.utils.set_random_seed(0)
        inputs = keras.Input((64,))
        model = keras.Model(inputs, keras.layers.Dense(10)(keras.layers.Dense(16, activation="relu")(inputs)))
        model.compile(keras.optimizers.Adam(3e-3), keras.losses.CategoricalCrossentropy(from_logits=True))
        model.fit(x[~test], y, epochs=8, class_weight=class_weight, verbose=0)
        evaluation = tailfit.evaluate(codes[test], model.predict(x[test], verbose=0))
        recalls.append(float(evaluation.classes[8].recall))
        print(
            f"{'with' if class_weight else 'without'} class weights: recall of the rare class {recalls[-1]:.2f}, "
            f"balanced accuracy {evaluation.balanced_accuracy:.3f}"
        )
    return recalls[0], recalls[1]


if __name__ == "__main__":
    main()
