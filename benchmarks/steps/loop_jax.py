"""The limits on JAX, by hand without Keras: an epoch as one `lax.scan`, or a compiled step in a loop.

XLA on CPU runs a convolution inside a scan on a slow path (ten times slower and more): there the loop is the limit.
"""

import time
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from networks import Epoch, Job, Network

LETTERS = {1: ("NWC", "WIO", "NWC"), 2: ("NHWC", "HWIO", "NHWC")}


def forward(network: Network, weights: list[jax.Array], x: jax.Array) -> jax.Array:
    left, space = iter(weights), len(network.shape) - 1
    for kind, *_ in network.layers:
        if kind == "dense":
            x = jax.nn.relu(x @ next(left) + next(left))
        elif kind == "conv":
            convolved = lax.conv_general_dilated(x, next(left), (1,) * space, "VALID", dimension_numbers=LETTERS[space])
            x = jax.nn.relu(convolved + next(left))
        elif kind == "pool":
            window = (1, *(2,) * space, 1)
            x = lax.reduce_window(x, -jnp.inf, lax.max, window, window, "VALID")
        else:
            x = x.mean(axis=tuple(range(1, 1 + space)))
    return x @ next(left) + next(left)


def cross_entropy(logits: jax.Array, y: jax.Array) -> jax.Array:
    return -jnp.take_along_axis(jax.nn.log_softmax(logits), y[:, None], axis=1).mean()


def by_hand(job: Job, scanned: bool) -> Epoch:
    weights = [jnp.asarray(w) for w in job.network.weights()]
    zeros = [jnp.zeros_like(w) for w in weights]
    state: Any = (weights, zeros, [jnp.copy(w) for w in zeros], jnp.zeros(()))
    x, y = jnp.asarray(job.x), jnp.asarray(job.y)

    def loss_of(weights: list[jax.Array], x: jax.Array, y: jax.Array, share: Any) -> tuple[jax.Array, jax.Array]:
        if share is None:
            return cross_entropy(forward(job.network, weights, x), y), jnp.zeros(())
        logits = forward(job.network, weights, share * x + (1 - share) * x[::-1])
        loss = share * cross_entropy(logits, y) + (1 - share) * cross_entropy(logits, y[::-1])
        return loss, (logits.argmax(axis=1) == y).mean()

    def step(x: jax.Array, y: jax.Array, state: Any, given: Any) -> tuple[Any, tuple[jax.Array, jax.Array]]:
        chosen, share = given
        weights, first, second, t = state
        (loss, accuracy), gradients = jax.value_and_grad(loss_of, has_aux=True)(weights, x[chosen], y[chosen], share)
        t = t + 1
        rate = 1e-3 * jnp.sqrt(1 - 0.999**t) / (1 - 0.9**t)
        first = [m + (g - m) * 0.1 for m, g in zip(first, gradients, strict=True)]
        second = [v + (g * g - v) * 0.001 for v, g in zip(second, gradients, strict=True)]
        weights = [w - rate * m / (jnp.sqrt(v) + 1e-7) for w, m, v in zip(weights, first, second, strict=True)]
        return (weights, first, second, t), (loss, accuracy)

    @partial(jax.jit, donate_argnums=0)
    def scan(state: Any, x: jax.Array, y: jax.Array, given: Any) -> tuple[Any, list[jax.Array]]:
        state, measured = lax.scan(partial(step, x, y), state, given)
        return state, [value.mean() for value in measured]

    @partial(jax.jit, donate_argnums=(0, 1))
    def one(state: Any, sums: Any, x: np.ndarray, y: np.ndarray, share: Any) -> tuple[Any, Any]:
        state, measured = step(x, y, state, (slice(None), share))
        return state, [total + value for total, value in zip(sums, measured, strict=True)]

    def epoch(count: int, shuffle: bool) -> tuple[float, float]:
        nonlocal state
        start = time.perf_counter()
        batches = job.batches(count, shuffle).astype("int32")
        shares = job.shares(len(batches)) if job.mixup else None
        if scanned:
            state, (mean, _) = scan(state, x, y, (batches, shares))
        else:
            sums: Any = [jnp.zeros(()), jnp.zeros(())]
            for number, chosen in enumerate(batches):
                share = None if shares is None else shares[number]
                state, sums = one(state, sums, *job.take(chosen), share)
            mean = sums[0] / len(batches)
        loss = float(mean)
        return time.perf_counter() - start, loss

    return epoch
