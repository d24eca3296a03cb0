"""One process of the benchmark of losses: python child.py CLASSES ROUNDS [recorded]; prints a line of JSON."""

import json
import os
import random
import statistics
import sys
import time
from collections.abc import Callable
from typing import Any

if hasattr(os, "sched_setaffinity"):  # one core, before the backend starts threads: JAX has no setting for their number
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})

import keras
import numpy as np
from limits import limits

import tailfit
import tailfit.losses as losses

BATCH = 256
SECONDS = 0.02  # of each loss in a round


def softmax_losses(counts: Any) -> dict[str, Any]:
    return {
        "CrossEntropy": losses.CrossEntropy(from_logits=True),
        "CrossEntropy, smoothed": losses.CrossEntropy(label_smoothing=0.1, from_logits=True),
        "Focal": losses.Focal(from_logits=True),
        "ClassBalanced": losses.ClassBalanced(counts, from_logits=True),
        "LDAM": losses.LDAM(counts, from_logits=True),
        "BalancedSoftmax": losses.BalancedSoftmax(counts, from_logits=True),
        "LogitAdjusted": losses.LogitAdjusted(counts, from_logits=True),
        "VectorScaling": losses.VectorScaling(counts, from_logits=True),
        "Seesaw": losses.Seesaw(counts, from_logits=True),
        "AsymmetricSingleLabel": losses.AsymmetricSingleLabel(from_logits=True),
        "Poly1": losses.Poly1(from_logits=True),
        "GeneralizedCrossEntropy": losses.GeneralizedCrossEntropy(from_logits=True),
        "SymmetricCrossEntropy": losses.SymmetricCrossEntropy(from_logits=True),
        "Bootstrapping": losses.Bootstrapping(from_logits=True),
        "ActivePassive": losses.ActivePassive(from_logits=True),
        "MeanAbsolute": losses.MeanAbsolute(from_logits=True),
        "NormalizedCrossEntropy": losses.NormalizedCrossEntropy(from_logits=True),
        "LabelAwareSmoothing": losses.LabelAwareSmoothing(counts, from_logits=True),
        "LogitNorm": losses.LogitNorm(from_logits=True),
        "MeanFalseError": losses.MeanFalseError(from_logits=True),
    }


def sigmoid_losses(counts: Any) -> dict[str, Any]:
    return {
        "BinaryFocal": losses.BinaryFocal(from_logits=True),
        "Asymmetric": losses.Asymmetric(from_logits=True),
        "Equalization": losses.Equalization(counts, threshold=0.01, from_logits=True),
        "DistributionBalanced": losses.DistributionBalanced(counts, num_samples=float(sum(counts)), from_logits=True),
    }


def gradient(loss: Any, y: Any, scores: Any) -> Callable[[], Any]:
    """Return a call that computes a loss and its gradient by the scores."""
    if keras.backend.backend() == "jax":
        import jax

        compiled = jax.jit(jax.value_and_grad(lambda z, y: loss(y, z)))
        z, labels = jax.numpy.asarray(scores), jax.numpy.asarray(y)
        return lambda: jax.block_until_ready(compiled(z, labels))
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        @tf.function(autograph=False)
        def both(z: Any, y: Any) -> Any:
            with tf.GradientTape() as tape:
                tape.watch(z)
                value = loss(y, z)
            return value, tape.gradient(value, z)

        z, labels = tf.constant(scores), tf.constant(y)
        return lambda: both(z, labels)[1].numpy()
    import torch

    torch.set_num_threads(1)
    z, labels = torch.tensor(scores, requires_grad=True), torch.tensor(y)
    return lambda: torch.autograd.grad(loss(labels, z), z)


def recorded(loss: Any, y: Any, scores: Any) -> Callable[[], Any]:
    """Return the same call on torch as a step of `tailfit.Model.fit` runs it, as a recorded graph."""
    import torch

    z, labels = torch.tensor(scores), torch.tensor(y)

    @tailfit.function
    def both(z: Any, y: Any) -> Any:
        value, (slope,) = tailfit.value_and_grad(lambda scores: loss(y, scores), inputs=[z])
        return value, slope

    return lambda: both(z, labels)


def seconds(call: Callable[[], Any], calls: int) -> float:
    start = time.process_time()
    for _ in range(calls):
        call()
    return (time.process_time() - start) / calls


def main(classes: int, rounds: int, as_in_fit: bool) -> None:
    tailfit.keep_memory()  # as the command line does; else 1,000 classes mostly measure how pages are cleared
    rng = np.random.default_rng(0)
    counts = np.maximum(1, 5000 * 0.99 ** np.arange(classes)).astype(int).tolist()
    normal = rng.normal(size=(BATCH, classes)).astype("float32")
    cosines = np.tanh(normal / 2)
    codes = rng.integers(0, classes, BATCH).astype("int32")
    rows = (rng.random((BATCH, classes)) < 0.1).astype("float32")
    softmax, sigmoid = "Keras, sparse softmax", "Keras, binary"
    peers = {
        softmax: keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        sigmoid: keras.losses.BinaryCrossentropy(from_logits=True),
    }
    peer_of = dict.fromkeys(softmax_losses(counts), softmax) | dict.fromkeys(sigmoid_losses(counts), sigmoid)
    measured = {**peers, **softmax_losses(counts), **sigmoid_losses(counts)}
    by_hand = limits(classes, counts, float(sum(counts)))
    calls, limit_of = {}, {}
    for name, loss in measured.items():
        labels = rows if peer_of.get(name, name) == sigmoid else codes
        # LDAM multiplies cosines by 30. Larger scores give denormal numbers, with which processors are slow.
        scores = cosines if name == "LDAM" else normal
        calls[name] = (recorded if as_in_fit and name not in peers else gradient)(loss, labels, scores)
        if name in by_hand:
            limit_of[name] = f"{name}, by hand"
            calls[limit_of[name]] = gradient(lambda y, z, name=name: by_hand[name](z, y), labels, scores)
            same(calls[name](), calls[limit_of[name]](), name)
    for call in calls.values():
        seconds(call, 3)
    often = {name: max(1, round(SECONDS / seconds(call, 5))) for name, call in calls.items()}
    taken: dict[str, list[float]] = {name: [] for name in calls}
    order = list(calls)
    for _ in range(rounds):
        random.shuffle(order)
        for name in order:
            taken[name].append(seconds(calls[name], often[name]))
    print(
        json.dumps(
            {
                name: [1e6 * statistics.median(taken[name]), ratio(taken, name, peer_of), ratio(taken, name, limit_of)]
                for name in measured
            }
        )
    )


def same(ours: Any, by_hand: Any, name: str) -> None:
    """Check that both compute the same gradient; else the limit is that of another formula."""
    one, other = (np.asarray(found[-1] if isinstance(found, tuple) else found) for found in (ours, by_hand))
    if not np.allclose(one, other, rtol=1e-3, atol=1e-4 * np.abs(one).max()):
        print(f"{name}: gradients differ by {np.abs(one - other).max()} of {np.abs(one).max()}", file=sys.stderr)


def ratio(taken: dict[str, list[float]], name: str, peer_of: dict[str, str]) -> float | None:
    if name not in peer_of:
        return None
    pairs = zip(taken[name], taken[peer_of[name]], strict=True)
    return statistics.median(one / other for one, other in pairs)


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), "recorded" in sys.argv)
