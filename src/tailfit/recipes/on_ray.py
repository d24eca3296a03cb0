"""Runs of a comparison as tasks on a Ray cluster; see `tailfit.ray_cluster`.

Tasks communicate through the directories of their runs, on storage that all nodes share. That makes them idempotent: a
task whose node is lost is started again by Ray, and continues from the newest checkpoint.
"""

import json
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import keras

from tailfit.errors import CheckpointError, WorkerError
from tailfit.processes.messages import describe_error, error_of
from tailfit.ray_cluster import check_shared, connected, task_environment
from tailfit.recipes.runs import RunOfComparison, RunTrainer
from tailfit.recipes.side_by_side import Failure
from tailfit.resume.lock import Lock
from tailfit.storage.json_text import parsed

__all__ = ["train_on_ray", "wait_for_lock"]

_MOST_TRIES: Final = 3
_LOCK_SECONDS: Final = 60.0  # after which Ray has ended the tasks of a process that was killed


def train_on_ray(
    runs: Sequence[RunOfComparison],
    address: str,
    settings: Mapping[str, Any],
    root: Path,
    ended: Callable[[RunOfComparison], None],
) -> list[Failure]:
    """Train runs as Ray tasks, and return those that failed, each with its error.

    Args:
        runs: The runs.
        address: Address of the cluster; see `check_address`.
        settings: What all runs share; see `settings_of`.
        root: Directory of the comparison.
        ended: Function called with each run that has ended well.
    Raises:
        PackageError, ArgumentError, WorkerError: See `connected` and `check_shared`.
    """
    failed: list[Failure] = []
    with connected(address) as ray:
        check_shared(ray, root)
        environment = {"env_vars": task_environment({"KERAS_BACKEND": keras.backend.backend()})}
        # One process per task, so that no task depends on what an earlier one has left in memory.
        options = {"num_cpus": 1, "max_calls": 1, "max_retries": _MOST_TRIES, "runtime_env": environment}
        task = ray.remote(**options)(_train_described)
        shared = json.dumps(settings)
        at_work = {task.remote(shared, json.dumps(run.described())): run for run in runs}
        while at_work:
            ready, _ = ray.wait(list(at_work), num_returns=1, timeout=1.0)
            for each in ready:
                run = at_work.pop(each)
                error = _error_of(ray, each)
                if error is None:
                    ended(run)
                else:
                    failed.append((run, error))
    return sorted(failed, key=lambda failure: runs.index(failure[0]))


def _error_of(ray: Any, task: Any) -> Any:
    try:
        described = parsed(ray.get(task))
    except ray.exceptions.RayError as error:
        first = str(error).strip().splitlines()[:1]
        return WorkerError(
            f"a Ray task that was lost: {first[0] if first else type(error).__name__}",
            expected="tasks that run to the end",
            fix="look at `ray status` and the memory of the nodes; the same command continues",
        )
    return None if described is None else error_of(described, "the training")


def _train_described(settings: str, run: str) -> str:
    """Train a run in a task, and return the description of its error, or null."""
    try:
        described = parsed(run)
        wait_for_lock(Path(described["place"]))
        RunTrainer.of(parsed(settings)).train_described(described)
    except Exception as error:
        return json.dumps(describe_error(error))
    return "null"


def wait_for_lock(place: Path) -> None:
    """Wait until a task of a command that was killed, or on a node that was lost, has ended.

    Raises:
        CheckpointError: If another process still works in the directory after a minute.
    """
    give_up = time.monotonic() + _LOCK_SECONDS
    while place.is_dir():
        try:
            Lock(place).release()
        except CheckpointError:
            if time.monotonic() > give_up:
                raise
            time.sleep(0.5)
        else:
            return
