"""A training loop from scratch: MNIST, epoch by epoch and batch by batch, with the same code on every backend.

A network of 784-64-64-10, plain SGD, batches of 64, the last 10,000 training images held out for validation, two
epochs. `tailfit.function` compiles the two functions below, and detects that they read and update the model, the
optimizer and the metrics.

    KERAS_BACKEND=jax python examples/mnist_loop.py                    # keras.datasets.mnist downloads the images
    KERAS_BACKEND=torch python examples/mnist_loop.py --data FILE.npz  # x_train, y_train, ... or X, y, is_train
"""

import argparse
import time

import keras
import numpy as np

import tailfit


def load_mnist(path: str | None) -> tuple[np.ndarray, np.ndarray]:
    if path is None:
        (x, y), _ = keras.datasets.mnist.load_data()
    else:
        with np.load(path, allow_pickle=False) as file:
            if "x_train" in file:
                x, y = file["x_train"], file["y_train"]
            else:
                x, y = file["X"][file["is_train"]], file["y"][file["is_train"]]
    # Pixels stay 0 to 255, as in Keras' guide: at a learning rate of 1e-3, scaled ones would need more than two epochs.
    return x.reshape(len(x), 784).astype("float32"), y.astype("int32")


def main(data: str | None = None, epochs: int = 2, batch_size: int = 64, held_out: int = 10_000) -> float:
    keras.utils.set_random_seed(0)
    x, y = load_mnist(data)
    train = tailfit.Batches(tailfit.data.Arrays(x[:-held_out], y[:-held_out]), batch_size)
    validation = tailfit.Batches(
        tailfit.data.Arrays(x[-held_out:], y[-held_out:]), batch_size, tailfit.samplers.Sequential()
    )

    model = keras.Sequential(
        [
            keras.Input((784,)),
            keras.layers.Dense(64, activation="relu"),
            keras.layers.Dense(64, activation="relu"),
            keras.layers.Dense(10),
        ]
    )
    optimizer = keras.optimizers.SGD(learning_rate=1e-3)
    loss_function = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    train_accuracy = keras.metrics.SparseCategoricalAccuracy()
    validation_accuracy = keras.metrics.SparseCategoricalAccuracy()

    @tailfit.function
    def train_on(x, y):
        def forward():
            logits = model(x, training=True)
            return loss_function(y, logits), logits

        (loss, logits), gradients = tailfit.value_and_grad(forward, model.trainable_variables)
        optimizer.apply(gradients, model.trainable_variables)
        train_accuracy.update_state(y, logits)
        return loss

    @tailfit.function
    def validate_on(x, y):
        validation_accuracy.update_state(y, model(x, training=False))

    for epoch in range(epochs):
        print(f"Start of epoch {epoch}")
        started = time.perf_counter()
        for step, (x_batch, y_batch) in enumerate(train.iterate(epoch)):
            loss = train_on(x_batch, y_batch)
            if step % 200 == 0:
                print(
                    f"Training loss at step {step}: {float(loss):.4f}, seen so far: {step * batch_size + len(y_batch)}"
                )
        print(f"Training accuracy over epoch: {float(train_accuracy.result()):.4f}")
        for x_batch, y_batch in validation.iterate(0):
            validate_on(x_batch, y_batch)
        accuracy = float(validation_accuracy.result())
        print(f"Validation accuracy: {accuracy:.4f}, time taken: {time.perf_counter() - started:.2f} s")
        train_accuracy.reset_state()
        validation_accuracy.reset_state()
    return accuracy


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--data", metavar="FILE.npz", help="MNIST as a file instead of a download")
    main(parser.parse_args().data)
