"""`compare`: train several remedies on the same data with the same seeds, and test their differences."""

import itertools
import json
import math
import re
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from os import PathLike, fspath
from pathlib import Path
from typing import Any, Final

from tailfit.arguments import whole_number
from tailfit.data.remote.fetching import is_url
from tailfit.errors import ArgumentError, CheckpointError
from tailfit.evaluation import Comparison, Evaluation, comparison
from tailfit.ray_cluster import check_address
from tailfit.recipes.data_identity import identity_of_data
from tailfit.recipes.directory import locked
from tailfit.recipes.on_ray import train_on_ray
from tailfit.recipes.overriding import with_changes
from tailfit.recipes.parts import open_parts
from tailfit.recipes.recipe import MAX_RUNS, Recipe, load_recipe
from tailfit.recipes.runs import Progress, RunEnded, RunOfComparison, RunTrainer, last_epoch, settings_of
from tailfit.recipes.side_by_side import Workers, raise_failures
from tailfit.recipes.training import finished_evaluation, save_report
from tailfit.resume.signals import exit_on_sigterm
from tailfit.training.programs import keep_programs, program_folder

__all__ = ["compare", "planned", "remedies"]

Vary = Mapping[str, Mapping[str, Any] | Sequence[Any]]

# Keys that remedies can't change, because they are evaluated on the same samples with the same seeds; and exceptions.
_FIXED_KEYS: Final = ("backend", "compare", "data", "name", "seed")
_FREE_KEYS: Final = ("data.fill_missing", "data.normalize")


def compare(
    recipe: str | PathLike[str] | Mapping[str, Any] | Recipe,
    vary: Vary | None = None,
    seeds: int | Sequence[int] | None = None,
    *,
    directory: str | PathLike[str] | None = None,
    modules: Sequence[str] = (),
    jobs: int = 1,
    ray: str | None = None,
    fetch: bool = False,
    verify: bool = False,
    progress: Progress | None = None,
    run_ended: RunEnded | None = None,
) -> Comparison:
    """Train each remedy with several seeds, and measure which one helps on these data, and with what confidence.

    All remedies are evaluated on the same test samples. The confidence intervals of the differences cover both the
    choice of test samples and the randomness of training; see `tailfit.evaluation.Comparison`.

    Args:
        recipe: Recipe that the remedies have in common.
        vary: Remedies by name, each with the keys in which it differs from the recipe:
            `{"plain": {}, "focal": {"loss": "Focal"}}`; or lists of values by key, of which all combinations are
            compared: `{"loss": ["CrossEntropy", "Focal"]}`. Keys may be dotted: `"data.normalize"`. The first remedy is
            the baseline. By default the recipe's `compare.vary`.
        seeds: Number of seeds, or the seeds themselves; by default the recipe's `compare.seeds`, or 5. Few seeds make
            wide intervals: three are rarely enough to find a difference.
        directory: Directory of all runs. After an interruption the same call continues there. By default a temporary
            directory is used.
        jobs: Number of worker processes that train runs side by side; 1 trains in this process. The results are the
            same to the bit. An error in one run then stops no other, and is raised at the end.
        ray: Address of a Ray cluster, whose tasks train the runs instead: "auto", "local" or "HOST:PORT". All its nodes
            must see the recipe's data and `directory`. Needs `tailfit[ray]`.
        modules, fetch, verify: See `tailfit.recipes.train`.
        progress: Function called after each epoch with the remedy, the seed, the epoch from 1, and its loss and metrics
            by name.
        run_ended: Function called for each finished run, also for those that were finished before, with the remedy,
            the seed, and loss and metrics of its last epoch.
    Raises:
        ArgumentError: If there are fewer than two remedies, or a remedy changes the samples or the seeds.
        WorkerError: If a worker process has died three times during one run, or an exception was raised in it; or there
            is no Ray cluster at the address.
        DataError: If the recipe or a remedy is invalid; nothing has been trained then.
        CheckpointError: If another process is working in the directory, or a run in it was trained on different data.

    >>> import numpy as np, tailfit
    >>> rng = np.random.default_rng(0)
    >>> y = np.repeat([0, 1], [190, 10])
    >>> x = rng.normal(1.5 * y[:, None], size=(200, 2)).astype("float32")
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     tailfit.data.save_npy_folder(f"{folder}/pumps", x, np.array(["ok", "leak"])[y])
    ...     recipe = {"data": {"path": f"{folder}/pumps"}, "epochs": 10, "optimizer": {"learning_rate": 0.01}}
    ...     result = compare(recipe, {"loss": ["CrossEntropy", "LogitAdjusted"]}, seeds=1)
    ...     list(result.evaluations)
    ['loss=CrossEntropy', 'loss=LogitAdjusted']
    """
    base = load_recipe(recipe, modules=modules)
    named = remedies(base, vary)
    chosen = _checked_seeds(base, seeds)
    checked_jobs, cluster = _checked_workers(jobs, ray, directory)
    recipes = {name: _with_changes(base, changes) for name, changes in named.items()}
    with exit_on_sigterm(), _directory_or_temporary(directory) as root, locked(root) as lock:
        data = identity_of_data(base, verify=verify)  # once, because no remedy can change the location of the data
        runs = _runs_of(recipes, chosen, root)
        found = {run: finished_evaluation(run.recipe, run.place, data) for run in runs}
        for run, evaluation in found.items():
            if evaluation is not None:
                _complete(evaluation, run.place)
                _report_end(run, run_ended)
        missing = [run for run in runs if found[run] is None]
        with program_folder(root) as programs:
            if checked_jobs == 1 and cluster is None:
                _train_here(missing, RunTrainer(data, fetch), programs, progress, run_ended)
            elif missing:
                if fetch and is_url(base.data.path):
                    open_parts(base, fetch=True)  # downloaded once, before several workers open it
                end = partial(_report_end, run_ended=run_ended)
                settings = settings_of(missing, data, fetch)
                if cluster is None:
                    workers = Workers(checked_jobs, settings, programs, lock.descriptors, progress, end)
                    failed = workers.train(missing)
                else:
                    failed = train_on_ray(missing, cluster, settings, root, end)
                raise_failures(failed, len(runs))
        result = comparison(_evaluations(runs, found, data), seeds=chosen)
        if directory is not None:
            result.save_json(root / "comparison.json")
            save_report(result, root)
    return result


def planned(recipe: Recipe, vary: Vary | None = None, seeds: int | Sequence[int] | None = None) -> dict[Any, int]:
    """Return the number of epochs of each run of a comparison, by remedy and seed; see `compare`."""
    epochs = {name: _with_changes(recipe, each).epochs for name, each in remedies(recipe, vary).items()}
    return {(name, seed): epochs[name] for seed in _checked_seeds(recipe, seeds) for name in epochs}


def _runs_of(recipes: Mapping[str, Recipe], seeds: Sequence[int], root: Path) -> list[RunOfComparison]:
    """Return all runs in order: seeds first, so that an interrupted comparison has runs of every remedy."""
    return [
        RunOfComparison(
            name,
            recipe.model_copy(update={"seed": seed, "name": name}),
            root / f"{number:02d}-{_slug(name)}" / f"seed-{seed}",
        )
        for seed, (number, (name, recipe)) in itertools.product(seeds, enumerate(recipes.items()))
    ]


def _complete(evaluation: Evaluation, place: Path) -> None:
    """Write the page of a finished run whose process was killed before or while it wrote the page."""
    with locked(place):
        if not (place / "report.html").is_file():
            save_report(evaluation, place)


def _train_here(
    runs: Sequence[RunOfComparison],
    trainer: RunTrainer,
    programs: Path | None,
    progress: Progress | None,
    run_ended: RunEnded | None,
) -> None:
    """Train runs in this process, one after another."""
    with keep_programs(programs):
        for run in runs:
            of_run = None if progress is None else partial(progress, run.remedy, run.seed)
            trainer.train(run.recipe, run.place, of_run)
            _report_end(run, run_ended)


def _report_end(run: RunOfComparison, run_ended: RunEnded | None) -> None:
    if run_ended is not None:
        run_ended(run.remedy, run.seed, last_epoch(run.place))


def _evaluations(
    runs: Sequence[RunOfComparison], found: Mapping[RunOfComparison, Evaluation | None], data: Mapping[str, Any]
) -> dict[str, list[Evaluation]]:
    """Return the evaluations of each remedy, in the order of the seeds; those of new runs are read."""
    by_remedy: dict[str, list[Evaluation]] = {}
    for run in runs:
        evaluation = found[run] or finished_evaluation(run.recipe, run.place, data)
        if evaluation is None:
            raise CheckpointError(
                f"{run.place}, whose results have changed since they were written",
                expected="the files as tailfit wrote them",
                fix="run the same command again, which trains this run again",
            )
        by_remedy.setdefault(run.remedy, []).append(evaluation)
    return by_remedy


def remedies(recipe: Recipe, vary: Vary | None = None) -> dict[str, dict[str, Any]]:
    """Return the changes of each remedy by name.

    Args:
        recipe: Recipe whose `compare.vary` is the default.
        vary: See `compare`.
    Raises:
        ArgumentError: See `compare`.

    >>> recipe = load_recipe({"data": {"path": "x"}})
    >>> remedies(recipe, {"loss": ["Focal", {"name": "LogitAdjusted", "tau": 2}], "epochs": [5]})
    {'loss=Focal, epochs=5': {'loss': 'Focal', 'epochs': 5}, 'loss=LogitAdjusted(tau=2), epochs=5': ...}
    """
    if vary is None and recipe.compare is not None:
        vary = recipe.compare.vary
    values = list(vary.values()) if isinstance(vary, Mapping) else []
    named: list[tuple[str, dict[str, Any]]] = []
    if vary and all(isinstance(value, list | tuple) for value in values):
        _check_count(vary, math.prod(map(len, values)))
        combined = itertools.product(*([(key, value) for value in vary[key]] for key in vary))
        named = [(", ".join(f"{key}={_value_text(value)}" for key, value in each), dict(each)) for each in combined]
    elif vary and all(isinstance(value, Mapping) for value in values):
        _check_count(vary, len(values))
        named = [(str(name), dict(changes)) for name, changes in vary.items()]
    found = dict(named)
    if len(found) < 2 or len(found) < len(named):
        raise ArgumentError(
            "nothing to vary" if vary is None else f"vary={vary!r}",
            expected="two or more different remedies: mappings of keys by name, or lists of values by key",
            fix="pass vary={'loss': ['CrossEntropy', 'LogitAdjusted']}, or add compare.vary to the recipe",
        )
    for name, changes in found.items():
        shared = [key for key in changes if key.partition(".")[0] in _FIXED_KEYS and key not in _FREE_KEYS]
        if shared:
            raise ArgumentError(
                f"the remedy {name!r}, which changes {shared[0]}",
                expected=f"keys that keep the samples and seeds; of data only {' and '.join(_FREE_KEYS)}",
                fix=f"remove {shared[0]}: only remedies evaluated on the same samples can be compared",
            )
    return found


def _check_count(vary: Vary, remedies: int) -> None:
    if remedies > MAX_RUNS:
        raise ArgumentError(
            f"{remedies} remedies, from {', '.join(map(str, vary))}",
            expected=f"at most {MAX_RUNS} remedies",
            fix="vary fewer keys or values at a time",
        )


def _with_changes(base: Recipe, changes: Mapping[str, Any]) -> Recipe:
    return load_recipe(with_changes(base.document, changes), modules=base.modules, folder=base.folder)


def _checked_seeds(base: Recipe, seeds: int | Sequence[int] | None) -> list[int]:
    if seeds is None:
        seeds = 5 if base.compare is None else base.compare.seeds
    given: Any = seeds
    if type(seeds) is int:
        given = range(min(seeds, MAX_RUNS + 1))
    sound = isinstance(given, list | tuple | range) and 0 < len(given) <= MAX_RUNS
    whole = sound and all(type(seed) is int and 0 <= seed < 2**32 for seed in given)
    if not whole or len(set(given)) < len(given):
        raise ArgumentError(
            f"seeds={seeds!r}",
            expected=f"a number from 1 to {MAX_RUNS}, or a list of different seeds >= 0",
            fix="use seeds=5, for example",
        )
    return list(given)


def _checked_workers(jobs: int, ray: str | None, directory: str | PathLike[str] | None) -> tuple[int, str | None]:
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


def _value_text(value: Any) -> str:
    """Return a value as text for a remedy's name."""
    if isinstance(value, Mapping) and "name" in value:
        options = ", ".join(f"{key}={_value_text(option)}" for key, option in value.items() if key != "name")
        return f"{value['name']}({options})"
    return value if isinstance(value, str) else json.dumps(value, default=str)


def _slug(name: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")[:60] or "remedy"


@contextmanager
def _directory_or_temporary(directory: str | PathLike[str] | None) -> Iterator[Path]:
    if directory is not None:
        yield Path(fspath(directory)).absolute()
    else:
        with tempfile.TemporaryDirectory(prefix="tailfit-") as temporary:
            yield Path(temporary)
