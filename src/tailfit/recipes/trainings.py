"""Training of the runs of a comparison: in this process, in worker processes, or on a Ray cluster."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from os import PathLike
from pathlib import Path
from typing import Any

from tailfit.arguments import whole_number
from tailfit.data.remote.fetching import is_url
from tailfit.errors import ArgumentError
from tailfit.ray_cluster import check_address, connected
from tailfit.recipes.on_ray import train_on_ray
from tailfit.recipes.parts import open_parts
from tailfit.recipes.runs import Progress, RunEnded, RunOfComparison, RunTrainer, last_epoch, settings_of
from tailfit.recipes.side_by_side import Workers, raise_failures
from tailfit.resume.lock import Lock
from tailfit.training.programs import keep_programs

__all__ = ["Trainings", "checked_workers"]


@dataclass(eq=False)
class Trainings:
    """Settings for training the runs of a comparison.

    Attributes:
        root: Directory of the comparison.
        lock: The lock on it.
        data: Identity of the data.
        fetch: Whether a URL may be downloaded.
        programs: Folder of compiled programs, or None.
        jobs: Number of worker processes; 1 trains in this process.
        cluster: Address of a Ray cluster, or None.
        progress, run_ended: See `tailfit.compare`.
    """

    root: Path
    lock: Lock
    data: dict[str, Any]
    fetch: bool
    programs: Path | None
    jobs: int
    cluster: str | None
    progress: Progress | None
    run_ended: RunEnded | None
    _here: RunTrainer | None = None

    def cores(self) -> int:
        """Return the number of runs that are trained at a time."""
        if self.cluster is None:
            return self.jobs
        with connected(self.cluster) as ray:
            return max(1, int(ray.cluster_resources().get("CPU", 1)))

    def train(self, runs: Sequence[RunOfComparison]) -> None:
        """Train runs.

        Raises:
            TailfitError: If a run has failed. With several workers, the others have ended then.
        """
        if not runs:
            return
        if self.jobs == 1 and self.cluster is None:
            self._train_here(runs)
            return
        base = runs[0].recipe
        if self.fetch and is_url(base.data.path):
            open_parts(base, fetch=True)  # downloaded once, before several workers open it
        settings = settings_of(runs, self.data, self.fetch)
        if self.cluster is None:
            workers = Workers(self.jobs, settings, self.programs, self.lock.descriptors, self.progress, self.report)
            failed = workers.train(runs)
        else:
            failed = train_on_ray(runs, self.cluster, settings, self.root, self.report)
        raise_failures(failed, len(runs))

    def report(self, run: RunOfComparison) -> None:
        """Report the end of a run."""
        if self.run_ended is not None:
            self.run_ended(run.remedy, run.seed, last_epoch(run.place))

    def _train_here(self, runs: Sequence[RunOfComparison]) -> None:
        if self._here is None:
            self._here = RunTrainer(self.data, self.fetch)
        with keep_programs(self.programs):
            for run in runs:
                of_run = None if self.progress is None else partial(self.progress, run.remedy, run.seed)
                self._here.train(run.recipe, run.place, of_run, until=run.until, timed=run.timed)
                self.report(run)


def checked_workers(jobs: int, ray: str | None, directory: str | PathLike[str] | None) -> tuple[int, str | None]:
    """Return the number of worker processes and the address of a Ray cluster.

    Raises:
        ArgumentError: If one of them is invalid, or they do not fit together.
    """
    number, cluster = whole_number("jobs", jobs, least=1), None if ray is None else check_address(ray)
    if cluster is not None and number > 1:
        raise ArgumentError(
            f"jobs={number} with ray={ray!r}",
            expected="one of them",
            fix="leave out jobs: Ray runs as many tasks at a time as the cluster has cores",
        )
    if cluster is not None and directory is None:
        raise ArgumentError(
            f"ray={ray!r} without a directory",
            expected="a directory that all nodes of the cluster share",
            fix="pass directory= on shared storage",
        )
    return number, cluster
