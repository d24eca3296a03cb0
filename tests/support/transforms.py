"""Transforms for worker processes: a separate module, which imports no backend."""


def jitter(batch, rng):
    return (batch[0] + rng.normal(size=batch[0].shape).astype(batch[0].dtype), *batch[1:])
