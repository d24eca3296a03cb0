"""A training on the workers of a Ray cluster: Ray places them, and starts them again when one or its node is lost.

Each worker gets its rank, their number, and the address of rank 0, in the variables that every launcher sets, and then
does what a local worker does. After a loss all start again from the newest checkpoint, with as many workers as the
cluster has room for and the recipe's parts allow. Results are files in the run's directory, which all nodes share.
"""

import json
import os
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import keras

from tailfit.distributed.jobs import described_job, do_job
from tailfit.distributed.ports import free_port
from tailfit.errors import TailfitError, WorkerError
from tailfit.extras import needed
from tailfit.processes.messages import describe_error, error_of
from tailfit.ray_cluster import check_shared, connected, task_environment
from tailfit.recipes.on_ray import wait_for_lock
from tailfit.recipes.recipe import Recipe
from tailfit.recipes.runs import last_epoch
from tailfit.storage.json_text import parsed, read_object
from tailfit.storage.writing import make_folder, write_text

__all__ = ["train_on_ray"]

# Ray would wait ten minutes for a worker that does not answer, and for ever in its own collectives.
_TIMEOUTS: Final = {
    "RAY_TRAIN_COLLECTIVE_TIMEOUT_S": "60",
    "RAY_TRAIN_WORKER_GROUP_START_TIMEOUT_S": "60",
    "RAY_TRAIN_WORKER_HEALTH_CHECK_TIMEOUT_S": "60",
}
_RESIZE_SECONDS: Final = 600.0  # after which a smaller group of workers may grow again
_MOST_ERROR: Final = 1 << 20
_WHAT: Final = "training on a Ray cluster"


def train_on_ray(
    recipe: Recipe,
    directory: Path,
    workers: int,
    address: str,
    restarts: int,
    *,
    fetch: bool,
    verify: bool,
    progress: Callable[[int, Mapping[str, float]], None] | None,
) -> None:
    """Train a recipe on a Ray cluster; see `tailfit.distributed.train`.

    Raises:
        PackageError, ArgumentError, WorkerError: See `connected` and `check_shared`; or workers were lost more often
            than `restarts`.
        TailfitError: The error of a worker.
    """
    logs = directory / "workers"
    make_folder(logs)
    problem = logs / "error.json"
    problem.unlink(missing_ok=True)
    with connected(address) as ray, _timeouts(), _following(directory, progress):
        check_shared(ray, logs)
        api = needed("ray.train", "ray", _WHAT)
        trainers = needed("ray.train.v2.api.data_parallel_trainer", "ray", _WHAT)
        gpu = ray.cluster_resources().get("GPU", 0) >= workers
        trainer = trainers.DataParallelTrainer(
            _work,
            train_loop_config={
                "job": json.dumps(described_job(recipe, directory, fetch=fetch, verify=verify)),
                "parts": recipe.parts,
                "problem": str(problem),
            },
            scaling_config=api.ScalingConfig(
                num_workers=(1, workers) if workers > 1 else 1,
                use_gpu=gpu,
                elastic_resize_monitor_interval_s=_RESIZE_SECONDS,
            ),
            run_config=api.RunConfig(
                storage_path=str(logs / "ray"),
                failure_config=api.FailureConfig(max_failures=restarts),
                worker_runtime_env={"env_vars": task_environment({"KERAS_BACKEND": keras.backend.backend()})},
            ),
        )
        try:
            trainer.fit()
        except api.TrainingFailedError as error:
            lines = [line for line in str(error).strip().splitlines() if line.strip()]
            raise WorkerError(
                f"{workers} Ray workers, lost more than {restarts} times: {lines[-1] if lines else error}",
                expected="workers that run to the end",
                fix="look at `ray status`; the same command continues from the newest checkpoint",
            ) from error
    if problem.exists():
        described = read_object(problem, _MOST_ERROR)
        raise error_of(described, f"worker {described.get('rank')}")


def _work(config: Mapping[str, Any]) -> None:
    """Train as one of the Ray workers, in a process of its own."""
    rank, world, address, port = _place(needed("ray.train", "ray", _WHAT).get_context())
    count = max(number for number in range(1, world + 1) if config["parts"] % number == 0)
    problem = Path(config["problem"])
    if rank >= count or problem.exists():  # not needed; or an error that would only be repeated
        return
    os.environ |= {
        "RANK": str(rank),
        "WORLD_SIZE": str(count),
        "LOCAL_RANK": "0",  # Ray shows each worker its own GPU only
        "MASTER_ADDR": address,
        "MASTER_PORT": str(port),
    }
    job = parsed(config["job"])
    if rank == 0:  # that of the attempt before may still be ending
        directory = Path(job["directory"])
        wait_for_lock(directory)
        wait_for_lock(directory / "checkpoints")
    try:
        do_job(job, _ignore)
    except WorkerError:
        raise  # another worker was lost: Ray starts all of them again
    except Exception as error:
        write_text(problem, json.dumps({**describe_error(error), "rank": rank}))
        if not isinstance(error, TailfitError):
            raise


def _place(context: Any) -> tuple[int, int, str, int]:
    """Return the rank of this worker, their number, and the address and a free port of the node of rank 0."""
    util = needed("ray.util", "ray", _WHAT)
    collective = needed("ray.train.collective", "ray", _WHAT)
    own = [util.get_node_ip_address(), free_port()] if context.get_world_rank() == 0 else None
    address, port = collective.broadcast_from_rank_zero(own)
    return context.get_world_rank(), context.get_world_size(), address, port


def _ignore(epoch: int, figures: Mapping[str, float]) -> None:
    pass


@contextmanager
def _timeouts() -> Iterator[None]:
    """Set Ray Train's timeouts, unless the user has set them; its processes get them from this one."""
    added = {name: value for name, value in _TIMEOUTS.items() if name not in os.environ}
    os.environ |= added
    try:
        yield
    finally:
        for name in added:
            os.environ.pop(name, None)


@contextmanager
def _following(directory: Path, progress: Callable[[int, Mapping[str, float]], None] | None) -> Iterator[None]:
    """Call `progress` with each epoch that appears in the run's `history.csv`, from a thread."""
    done = threading.Event()

    def follow() -> None:
        seen = -1.0
        while not done.wait(1.0):
            figures = last_epoch(directory)
            epoch = figures.pop("epoch", -1.0)
            if epoch > seen and progress is not None:
                seen = epoch
                progress(int(epoch) + 1, figures)

    thread = threading.Thread(target=follow, daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()
