"""Transforms that the tests of `Processes` run in workers: a separate module, which a new process imports quickly."""

import os
import time

import numpy as np


def noise(batch, rng):
    return (batch[0] + rng.normal(size=batch[0].shape), *batch[1:])


def where(batch, rng):
    return (np.full(len(batch[0]), os.getpid()), *batch[1:])


def fail_at_five(batch, rng):
    if 5 in batch[0]:
        raise LookupError("five is not in the table")
    return batch


def end_at_five(batch, rng):
    if 5 in batch[0]:
        os._exit(3)
    return batch


def sleep_long(batch, rng):
    time.sleep(600)
    return batch


def tell_and_sleep(batch, rng):
    os.write(1, b"begun\n")
    return sleep_long(batch, rng)
