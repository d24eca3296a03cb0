"""`compare`: train several remedies on the same data with the same seeds, and choose one."""

import math
import tempfile
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from os import PathLike, fspath
from pathlib import Path
from typing import Any

from tailfit.errors import ArgumentError, CheckpointError
from tailfit.evaluation import Comparison, comparison
from tailfit.evaluation.costs import checked_costs
from tailfit.evaluation.deciding import DecideOn, check_decide_on
from tailfit.recipes.comparison_runs import ComparisonRuns
from tailfit.recipes.data_identity import identity_of_data
from tailfit.recipes.directory import locked_for
from tailfit.recipes.nested import checked_folds, compare_in_folds, fold_names, pooled
from tailfit.recipes.parts import split_parts
from tailfit.recipes.recipe import Recipe, load_recipe
from tailfit.recipes.recommending import write_recommended
from tailfit.recipes.remedies import Vary, checked_seeds, folder_name, remedies, with_remedy
from tailfit.recipes.reports import save_report
from tailfit.recipes.runs import Planned, Progress, RunEnded
from tailfit.recipes.suites import remedies_of_suite
from tailfit.recipes.trainings import Trainings, checked_workers
from tailfit.resume.signals import exit_on_sigterm
from tailfit.training.programs import program_folder

__all__ = ["compare"]


def compare(
    recipe: str | PathLike[str] | Mapping[str, Any] | Recipe,
    vary: Vary | None = None,
    seeds: int | Sequence[int] | None = None,
    *,
    directory: str | PathLike[str] | None = None,
    modules: Sequence[str] = (),
    jobs: int = 1,
    ray: str | None = None,
    suite: str | None = None,
    budget: float | None = None,
    decide_on: DecideOn | None = None,
    costs: Sequence[Sequence[float]] | None = None,
    folds: int | None = None,
    fetch: bool = False,
    verify: bool = False,
    progress: Progress | None = None,
    run_ended: RunEnded | None = None,
    planned: Planned | None = None,
) -> Comparison:
    """Train each remedy with several seeds, choose one on the validation part, and measure all on the test part.

    The remedy is chosen on the validation part alone (`Comparison.chosen`, `.reason`), so that its figures on the test
    part stay honest; see `tailfit.evaluation.deciding`. All remedies are evaluated on the same test samples. The
    confidence intervals of the differences cover both the choice of test samples and the randomness of training. The
    file `recommended.yaml` in the directory is the recipe of the chosen remedy.

    Args:
        recipe: Recipe that the remedies have in common.
        vary: Remedies by name, each with the keys in which it differs from the recipe:
            `{"plain": {}, "focal": {"loss": "Focal"}}`; or lists of values by key, of which all combinations are
            compared: `{"loss": ["CrossEntropy", "Focal"]}`. Keys may be dotted: `"data.normalize"`. The first remedy is
            the baseline. List simple remedies first: of those that are about equally good, the first one is chosen.
            By default the recipe's `compare.vary`.
        seeds: Number of seeds, at least 2, or the seeds themselves; by default the recipe's `compare.seeds`, or 5. Few
            seeds make wide intervals: three are rarely enough to find a difference.
        directory: Directory of all runs. After an interruption the same call continues there. By default a temporary
            directory is used.
        jobs: Number of worker processes that train runs side by side; 1 trains in this process. The results are the
            same to the bit. An error in one run then stops no other, and is raised at the end.
        ray: Address of a Ray cluster, whose tasks train the runs instead: "auto", "local" or "HOST:PORT". All its nodes
            must see the recipe's data and `directory`. Needs `tailfit[ray]`.
        suite: "standard" compares the dozen remedies of `tailfit.recipes.suites`, instead of `vary`. Those that do not
            fit the data are left out, with the reason in `Comparison.left_out`.
        budget: Planned time in minutes. Remedies that fall behind on the validation part are stopped then, as planned
            from the measured time of the first epochs; see `tailfit.recipes.racing`. Those in `Comparison.stopped` take
            part in no interval. By default all runs are trained.
        decide_on: Figure on the validation part that decides: "balanced_accuracy", "macro_f1", "worst_class" (the
            smallest recall) or "cost"; by default the recipe's `compare.decide_on`.
        costs: For "cost": the cost of each prediction, a row for each true class, a column for each predicted class, in
            the order of the class names; by default the recipe's `compare.costs`.
        folds: Number of folds of a nested comparison, at least 3, for small data sets: each fold is the test part once,
            and a remedy is chosen in each on its validation part alone; see `tailfit.recipes.nested` and
            `Comparison.nested`. By default the recipe's `compare.folds`, or one test part.
        modules, fetch, verify: See `tailfit.recipes.train`.
        progress: Function called after each epoch with the remedy, the seed, the epoch from 1, and its loss and metrics
            by name.
        run_ended: Function called for each finished run, also for those that were finished before, with the remedy,
            the seed, and loss and metrics of its last epoch.
        planned: Function called before the training with the number of epochs of each run, by remedy and seed.
    Raises:
        ArgumentError: If there are fewer than two remedies or seeds, a remedy changes the samples or the seeds, the
            data have no validation part, the costs do not fit the classes, or the budget is too small; or there are too
            few samples or groups for the folds.
        WorkerError: If a worker process has died three times during one run, or an exception was raised in it; or there
            is no Ray cluster at the address.
        DataError: If the recipe or a remedy is invalid; nothing has been trained then.
        CheckpointError: If another process is working in the directory, it contains a different comparison, or a run in
            it was trained on different data.

    >>> import numpy as np, tailfit
    >>> rng = np.random.default_rng(0)
    >>> y = np.repeat([0, 1], [190, 10])
    >>> x = rng.normal(1.5 * y[:, None], size=(200, 2)).astype("float32")
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     tailfit.data.save_npy_folder(f"{folder}/pumps", x, np.array(["ok", "leak"])[y])
    ...     recipe = {"data": {"path": f"{folder}/pumps"}, "epochs": 10, "optimizer": {"learning_rate": 0.01}}
    ...     result = compare(recipe, {"loss": ["CrossEntropy", "LogitAdjusted"]}, seeds=2)
    ...     list(result.evaluations), result.chosen in result.evaluations
    (['loss=CrossEntropy', 'loss=LogitAdjusted'], True)
    """
    base = load_recipe(recipe, modules=modules)
    seeds = checked_seeds(base, seeds)
    checked_jobs, cluster = checked_workers(jobs, ray, directory)
    minutes, count = _checked_budget(budget), checked_folds(base, folds, budget)
    rule, matrix = _rule(base, decide_on, costs)
    named, left_out = _named_remedies(base, vary, suite, fetch)
    if count is not None:
        with exit_on_sigterm(), _directory_or_temporary(directory) as root, locked_for(root, "comparison"):
            _check_same_comparison(fold_names(count), root)
            options: Any = {"jobs": jobs, "ray": ray, "decide_on": rule, "costs": matrix, "verify": verify}
            one_fold = partial(compare, vary=named, seeds=seeds, fetch=fetch, **options)
            reports: Any = {"progress": progress, "run_ended": run_ended, "planned": planned}
            found = compare_in_folds(base, count, root, one_fold, fetch=fetch, **reports)
            result = comparison(
                pooled(found, "evaluations"),
                pooled(found, "validation"),
                seeds=seeds,
                decide_on=rule,
                costs=matrix,
                left_out=left_out,
                folds=[(str(each.chosen), len(each.evaluations[each.baseline][0].y_true)) for each in found],
            )
            if directory is not None:
                _write_results(base, named, result, root)
        return result
    recipes = {name: with_remedy(base, changes) for name, changes in named.items()}
    with exit_on_sigterm(), _directory_or_temporary(directory) as root, locked_for(root, "comparison") as lock:
        data = identity_of_data(base, verify=verify)  # once, because no remedy can change the location of the data
        _check_same_comparison([f"{number:02d}-{folder_name(name)}" for number, name in enumerate(recipes)], root)
        with program_folder(root) as programs:
            trainings = Trainings(
                root=root,
                lock=lock,
                data=data,
                fetch=fetch,
                programs=programs,
                jobs=checked_jobs,
                cluster=cluster,
                progress=progress,
                run_ended=run_ended,
            )
            runs = ComparisonRuns(recipes, seeds, root, trainings, rule, matrix, planned)
            if not runs.finished:
                _check_parts(base, matrix, fetch)
            left, stopped = (list(recipes), []) if minutes is None else runs.race(minutes)
            measured = runs.train(left)
        result = comparison(
            {name: [each.test for each in of_remedy] for name, of_remedy in measured.items()},
            {name: [each.validation for each in of_remedy] for name, of_remedy in measured.items()},
            seeds=seeds,
            decide_on=rule,
            costs=matrix,
            stopped=stopped,
            left_out=left_out,
        )
        if directory is not None:
            _write_results(base, named, result, root)
    return result


def _write_results(base: Recipe, named: Mapping[str, Mapping[str, Any]], result: Comparison, root: Path) -> None:
    result.save_json(root / "comparison.json")
    write_recommended(base, named, result, root)
    save_report(result, root)


def _named_remedies(
    base: Recipe, vary: Vary | None, suite: str | None, fetch: bool
) -> tuple[dict[str, dict[str, Any]], dict[str, str]]:
    """Return the remedies by name, and those that are left out, with the reason."""
    if suite is None:
        return remedies(base, vary), {}
    if vary is not None:
        raise ArgumentError(f"suite={suite!r} with vary", expected="one of them", fix="leave out vary, or suite")
    return remedies_of_suite(suite, base, fetch=fetch)


def _rule(base: Recipe, decide_on: DecideOn | None, costs: Any) -> tuple[DecideOn, Any]:
    """Return the figure that decides, and the cost matrix."""
    if decide_on is None and costs is None and base.compare is not None:
        decide_on, costs = base.compare.decide_on, base.compare.costs
    if decide_on is None:
        decide_on = "balanced_accuracy" if costs is None else "cost"
    check_decide_on(decide_on, costs)
    return decide_on, costs


def _check_parts(base: Recipe, costs: Any, fetch: bool) -> None:
    """Check before any training that there is a validation part, and that the costs fit the classes."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # opening the data for the training warns again
        parts = split_parts(base, fetch)
    if "validation" not in parts:
        raise ArgumentError(
            f"{base.at('data')}: data without a validation part",
            expected="a validation part, on which the remedy is chosen: a choice on the test part is too optimistic",
            fix="add the part validation to the partition, or set data.split.validation",
        )
    if costs is not None:
        checked_costs(costs, len(parts["train"].class_names))


def _check_same_comparison(expected: Sequence[str], root: Path) -> None:
    """Check that a directory does not contain other remedies under the same numbers, or other folds."""
    for place in sorted(root.iterdir()):
        number = place.name.partition("-")[0]
        if not place.is_dir() or not (number.isdecimal() or number == "fold") or place.name in expected:
            continue
        raise CheckpointError(
            f"{root}, which contains the directory {place.name} of a different comparison",
            expected="a new directory, or that of this comparison, with "
            f"{', '.join(expected[:5])}{', ...' * (len(expected) > 5)}",
            fix="use a different directory for this comparison",
        )


def _checked_budget(budget: float | None) -> float | None:
    if budget is None:
        return None
    number = isinstance(budget, int | float) and not isinstance(budget, bool)
    if not number or not 0 < budget < math.inf:
        raise ArgumentError(
            f"budget={budget!r}", expected="a number of minutes > 0", fix="use budget=60 for an hour, for example"
        )
    return float(budget)


@contextmanager
def _directory_or_temporary(directory: str | PathLike[str] | None) -> Iterator[Path]:
    if directory is not None:
        yield Path(fspath(directory)).absolute()
    else:
        with tempfile.TemporaryDirectory(prefix="tailfit-") as temporary:
            yield Path(temporary)
