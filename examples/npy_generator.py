"""Replace the data generator over `data/<ID>.npy`, with its `partition` and `labels` dicts, by three lines.

The generator that is widely copied is a Sequence class of fifty lines. It allocates `np.empty((batch_size, ...))`,
leaves uninitialized values in the last batch, shuffles with a global seed and can't be resumed. This example reads the
same layout with `Batches`.
"""

import tempfile
from pathlib import Path

import keras
import numpy as np

import tailfit


def main() -> list[float]:
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder) / "data"
        data.mkdir()

        # Typical data on disk: one file per record, and two dicts.
        rng = np.random.default_rng(0)
        partition = {"train": [f"id-{i}" for i in range(1, 81)], "validation": [f"id-{i}" for i in range(81, 101)]}
        labels = {name: i % 3 for i, name in enumerate(partition["train"] + partition["validation"])}
        for name, label in labels.items():
            np.save(data / f"{name}.npy", rng.normal(loc=label, size=(32, 4)).astype("float32"))

        # The three lines.
        parts = tailfit.data.NpyFolder(data, labels=labels).split(partition)
        training_generator = tailfit.Batches(parts["train"], batch_size=32, one_hot=True)
        validation_generator = tailfit.Batches(parts["validation"], batch_size=32, one_hot=True)

        x, y = training_generator[0]
        print("a batch:", x.shape, x.dtype, y.shape, y.dtype, "- the last one:", training_generator[2][0].shape)

        keras.utils.set_random_seed(0)
        inputs = keras.Input((32, 4))
        hidden = keras.layers.GlobalAveragePooling1D()(keras.layers.Conv1D(8, 5, activation="relu")(inputs))
        model = tailfit.Model(inputs, keras.layers.Dense(3, activation="softmax")(hidden))
        model.compile(keras.optimizers.Adam(1e-2), "categorical_crossentropy", metrics=["accuracy"])
        history = model.fit(training_generator, validation_data=validation_generator, epochs=5, verbose=2)
        return history.history["val_accuracy"]


if __name__ == "__main__":
    main()
