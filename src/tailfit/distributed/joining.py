"""`worker`: the context in which this process is one of several that train together."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from tailfit.distributed.environment import read_environment
from tailfit.distributed.meeting import meet
from tailfit.errors import ArgumentError
from tailfit.recipes.recipe import Recipe
from tailfit.training.together import together
from tailfit.training.workers import joined
from tailfit.workers import Place

__all__ = ["check_divides", "worker", "worker_with"]


@contextmanager
def worker(*, exact: bool = True) -> Iterator[Place]:
    """Join the other workers of this training, as the environment of the process describes them.

    Start the same script several times with torchrun, srun or a Kubernetes job, and train within this context; see
    `tailfit.distributed.environment` for the variables. Without such an environment the process is alone, and the
    script runs as usual.

    Args:
        exact: Whether gradients are added in a fixed order, so that any number of workers has the same bits. False
            sends fewer bytes, one all-reduce, with differences of about 1e-5.
    Returns:
        A context whose value is the place of this process: `rank`, from 0, and `world`, the number of workers. Rank 0
        writes checkpoints; write other files only where `rank == 0`.
    Raises:
        ArgumentError: If the environment is incomplete or contradicts itself, rank 0 can't listen at the address, or
            the backend can't train on several workers.
        WorkerError: If the other workers are not reached within 30 seconds.

    >>> import numpy as np, keras, tailfit
    >>> with worker() as me:
    ...     source = tailfit.data.Arrays(np.eye(4, dtype="float32"), [0, 1, 0, 1])
    ...     model = tailfit.Model(inputs := keras.Input((4,)), keras.layers.Dense(2)(inputs))
    ...     model.compile("adam", tailfit.losses.CrossEntropy(from_logits=True), parts=2)
    ...     history = model.fit(tailfit.Batches(source, batch_size=4, shard="auto"), verbose=0)
    ...     me.rank, me.world
    (0, 1)
    """
    environment = read_environment(os.environ)
    if environment is None or environment.world == 1:
        yield Place(0, 1)
        return
    meet(environment, environment.seconds)
    place = environment.rank, environment.world, environment.address, environment.port
    with joined(*place, exact=exact) as exchange:
        yield exchange.place


@contextmanager
def worker_with(load: Callable[[], Recipe]) -> Iterator[tuple[Place, Recipe]]:
    """Join the other workers, and only then load the recipe, which may use the backend; see `worker`.

    Args:
        load: Function that loads the recipe; its error on one worker is raised by all.
    Raises:
        ArgumentError: If the number of workers does not divide the recipe's parts; see also `worker`.
    """

    def loaded() -> Recipe:
        recipe = load()
        check_divides(recipe, me.world)
        return recipe

    with worker() as me:
        yield me, together(loaded)


def check_divides(recipe: Recipe, workers: int) -> None:
    """Check that a number of workers divides the parts of a recipe.

    Raises:
        ArgumentError: If it does not.
    """
    if recipe.parts % workers:
        fewer = _nearest_divisor(recipe.parts, workers)
        raise ArgumentError(
            f"{workers} workers for {recipe.at('parts')}: {recipe.parts}",
            expected="a number of workers that divides the parts of a batch",
            fix=f"set parts to a multiple of {workers}, or use {f'{fewer} workers' if fewer > 1 else 'one worker'}",
        )


def _nearest_divisor(parts: int, workers: int) -> int:
    return max(count for count in range(1, min(parts, workers) + 1) if parts % count == 0)
