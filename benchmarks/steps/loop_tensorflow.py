"""The loop that Keras' guide writes by hand for TensorFlow: a tape, an `apply`; eager, and under `tf.function`."""

import time
from typing import Any

import keras
import tensorflow as tf
from networks import Epoch, Job
from rows import build


def tape(job: Job, compiled: bool) -> Epoch:
    model, optimizer = build(job, keras.Model), keras.optimizers.Adam(1e-3)
    cross_entropy = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    mean, accuracy = keras.metrics.Mean(), keras.metrics.SparseCategoricalAccuracy()

    def step(x: Any, y: Any, share: Any) -> None:
        with tf.GradientTape() as tape:
            if share is None:
                loss = cross_entropy(y, model(x, training=True))
            else:
                y_pred = model(share * x + (1 - share) * x[::-1], training=True)
                loss = share * cross_entropy(y, y_pred) + (1 - share) * cross_entropy(y[::-1], y_pred)
        gradients = tape.gradient(loss, model.trainable_weights)
        optimizer.apply(gradients, model.trainable_weights)
        mean.update_state(loss)
        if share is not None:
            accuracy.update_state(y, y_pred)

    run = tf.function(step) if compiled else step

    def epoch(count: int, shuffle: bool) -> tuple[float, float]:
        start = time.perf_counter()
        mean.reset_state()
        accuracy.reset_state()
        batches = job.batches(count, shuffle)
        shares = tf.unstack(job.shares(len(batches))) if job.mixup else [None] * len(batches)
        for chosen, share in zip(batches, shares, strict=True):
            run(*map(tf.convert_to_tensor, job.take(chosen)), share)
        loss = float(mean.result())
        return time.perf_counter() - start, loss

    return epoch
