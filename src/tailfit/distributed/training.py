"""`train`: a recipe on several workers, with the numbers of one."""

import warnings
from collections.abc import Callable, Mapping, Sequence
from os import PathLike, environ, fspath
from pathlib import Path
from typing import Any, TypeAlias, cast

import keras

from tailfit.arguments import whole_number
from tailfit.distributed.environment import read_environment
from tailfit.distributed.jobs import described_job
from tailfit.distributed.joining import check_divides, worker_with
from tailfit.distributed.local import LocalWorkers
from tailfit.distributed.ray_training import train_on_ray
from tailfit.errors import ArgumentError
from tailfit.evaluation import Evaluation
from tailfit.evaluation.history import read_history
from tailfit.processes.messages import Message
from tailfit.ray_cluster import check_address
from tailfit.recipes.directory import check_no_other_files
from tailfit.recipes.recipe import Recipe, load_recipe
from tailfit.recipes.trained import load_trained
from tailfit.recipes.training import Run, train_as_worker
from tailfit.resume.signals import exit_on_sigterm
from tailfit.storage.json_text import MOST_JSON
from tailfit.storage.reading import read_text
from tailfit.text import TailfitWarning

__all__ = ["RestartWarning", "train"]

Progress: TypeAlias = Callable[[int, Mapping[str, float]], None]


class RestartWarning(TailfitWarning):
    """A worker was lost; all workers start again from the newest checkpoint."""


def train(
    recipe: str | PathLike[str] | dict[str, Any] | Recipe,
    directory: str | PathLike[str],
    *,
    workers: int | None = None,
    ray: str | None = None,
    restarts: int = 3,
    modules: Sequence[str] = (),
    fetch: bool = False,
    verify: bool = False,
    progress: Progress | None = None,
) -> Run:
    """Train a recipe on several workers; the result is that of one process, to the last bit.

    The recipe's `parts` defines the numbers, and the number of workers must divide it: with `parts: 4`, one, two and
    four workers end with the same weights, history and evaluation, also if their number changes in between. Without
    `workers`, this process is one of those that torchrun, srun or another launcher has started, if its environment
    variables are set; otherwise it trains alone.

    If a worker is lost (killed, out of memory), all workers start again from the newest checkpoint. An error is raised
    once, here.

    Args:
        recipe: Path of a recipe, the same as a dict, or a loaded `Recipe`.
        directory: Directory for this run alone, which all workers must see. Each worker's output is in
            `workers/RANK.log` there.
        workers: Number of worker processes to start on this machine, or on the Ray cluster.
        ray: Address of a Ray cluster whose nodes run the workers: "auto", "local" or "HOST:PORT"; all nodes must see
            the directory and the data. Needs `tailfit[ray]`.
        restarts: How often the workers are started again after one was lost.
        modules, fetch, verify: See `tailfit.recipes.train`.
        progress: Function called after each epoch with its number, from 1, and its loss and metrics by name.
    Raises:
        ArgumentError: If the number of workers does not divide the recipe's parts, or `ray` is invalid or without
            `workers`; see also `tailfit.recipes.train`.
        WorkerError: If workers were lost more often than `restarts`, or can't reach each other or the Ray cluster.
        PackageError: If Ray is not installed.
        DataError, CheckpointError: See `tailfit.recipes.train`.

    >>> import tempfile, numpy as np, tailfit
    >>> rng = np.random.default_rng(0)
    >>> y = rng.integers(0, 2, 200)
    >>> x = rng.normal(3.0 * y[:, None], size=(200, 4)).astype("float32")
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     tailfit.data.save_npy_folder(f"{folder}/pumps", x, np.array(["leak", "ok"])[y])
    ...     recipe = {"data": {"path": f"{folder}/pumps"}, "epochs": 5, "parts": 2}
    ...     run = train(recipe, f"{folder}/run")  # alone; with workers=2 the same
    ...     len(run.history["loss"])
    5
    """
    place = Path(fspath(directory)).absolute()
    cluster = None if ray is None else check_address(ray)
    if cluster is not None and workers is None:
        raise ArgumentError(
            f"ray={ray!r} without workers", expected="the number of workers on the cluster", fix="pass workers=2"
        )
    if workers is None:
        with worker_with(lambda: load_recipe(recipe, modules=modules)) as (me, loaded):
            on_epoch = progress if me.rank == 0 else None
            return cast(Run, train_as_worker(loaded, place, fetch=fetch, verify=verify, progress=on_epoch))
    checked = load_recipe(recipe, modules=modules)
    environment = read_environment(environ)
    count = whole_number("workers", workers, least=1)
    if environment is not None and environment.world > 1:
        raise ArgumentError(
            f"workers={count} in worker {environment.rank} of {environment.world}, by {environment.launcher}",
            expected="one launcher",
            fix="leave out workers, or start a single process",
        )
    check_divides(checked, count)
    check_no_other_files(place)
    most = whole_number("restarts", restarts)
    if cluster is not None:
        with exit_on_sigterm():
            train_on_ray(checked, place, count, cluster, most, fetch=fetch, verify=verify, progress=progress)
        return _finished(checked, place, [])
    local = LocalWorkers(
        described_job(checked, place, fetch=fetch, verify=verify),
        count,
        place / "workers",
        most,
        {"KERAS_BACKEND": keras.backend.backend()},
        on_message=_listener(progress),
        on_restart=_warn_of_restart,
    )
    with exit_on_sigterm():
        restarted = local.run()
    return _finished(checked, place, restarted)


def _listener(progress: Progress | None) -> Callable[[Message], None]:
    def listen(message: Message) -> None:
        if "warning" in message:
            warnings.warn(TailfitWarning(message["warning"]), stacklevel=2)
        elif progress is not None and "epoch" in message:
            progress(message["epoch"], message["figures"])

    return listen


def _warn_of_restart(what: str) -> None:
    warnings.warn(RestartWarning(f"Lost {what}. All workers start again from the newest checkpoint."), stacklevel=2)


def _finished(recipe: Recipe, directory: Path, restarts: list[str]) -> Run:
    """Return the run that the workers have finished."""
    model = load_trained(directory, recipe.modules).model
    history = read_history(directory)
    history.pop("epoch", None)
    evaluation = Evaluation.from_json(read_text(directory / "evaluation.json", MOST_JSON))
    return Run(directory, recipe, model, history, evaluation, tuple(restarts))
