"""`compare`: the same data, the same seeds, one thing different; and whether the difference is more than chance."""

import itertools
import json
import math
import re
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from os import PathLike, fspath
from pathlib import Path
from typing import Any, Final

from tailfit.errors import ArgumentError
from tailfit.evaluation import Comparison, Evaluation, comparison
from tailfit.recipes.data_identity import identity_of_data
from tailfit.recipes.directory import locked
from tailfit.recipes.overriding import changed
from tailfit.recipes.parts import Parts, open_parts
from tailfit.recipes.recipe import MOST_RUNS, Recipe, load_recipe
from tailfit.recipes.training import finished_evaluation, save_page, train_on
from tailfit.resume.signals import exit_on_sigterm

__all__ = ["compare", "remedies"]

Vary = Mapping[str, Mapping[str, Any] | Sequence[Any]]
Progress = Callable[[str, int, int, Mapping[str, float]], None]

# What two remedies must have in common to be comparable, and what of it need not be.
_SHARED: Final = ("backend", "compare", "data", "name", "seed")
_NOT_SHARED: Final = ("data.fill_missing", "data.normalize")


def compare(
    recipe: str | PathLike[str] | Mapping[str, Any] | Recipe,
    vary: Vary | None = None,
    seeds: int | Sequence[int] | None = None,
    *,
    directory: str | PathLike[str] | None = None,
    modules: Sequence[str] = (),
    fetch: bool = False,
    verify: bool = False,
    progress: Progress | None = None,
) -> Comparison:
    """Train remedies with several seeds each, and measure which helps on these data, and how surely.

    All are measured on the same test samples. The intervals of the differences count the chance of the test samples and
    that of training again; see `tailfit.evaluation.Comparison`.

    Args:
        recipe: What all have in common.
        vary: Remedies by name, each the keys in which it differs: `{"plain": {}, "focal": {"loss": "Focal"}}`; or by
            key of the recipe a list of values, all combinations of them: `{"loss": ["CrossEntropy", "Focal"]}`. Keys
            may be within keys: `"data.normalize"`. The first remedy is the baseline. Without it the recipe's
            `compare.vary`.
        seeds: How often each is trained, or the seeds; without it the recipe's `compare.seeds`, or 5. Few seeds make
            wide intervals: of three, other trainings can't be told apart from much.
        directory: Of all runs; the same call again goes on where it was ended. Without it a temporary one.
        modules, fetch, verify: As for `tailfit.recipes.train`.
        progress: Called after each epoch with the remedy, the seed, the epoch from 1, and its figures.
    Raises:
        ArgumentError: for nothing to compare, or remedies that would not be measured on the same samples.
        DataError: for what is wrong in the recipe or in a remedy, before anything is trained.
        CheckpointError: another process is at work in the directory, or a run there is of other data.

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
    chosen = _seeds(base, seeds)
    recipes = {name: _changed(base, changes) for name, changes in named.items()}
    with exit_on_sigterm(), _place(directory) as root, locked(root):
        data = identity_of_data(base, verify=verify)  # of all remedies: none changes where the data are
        found: dict[str, list[Evaluation]] = {name: [] for name in recipes}
        opened: dict[str, Parts] = {}  # by what recipes say of their data: read and measured once for all seeds
        # Seed by seed, so that what is there when it is ended early is of all remedies.
        for seed, (number, (name, each)) in itertools.product(chosen, enumerate(recipes.items())):
            seeded = each.model_copy(update={"seed": seed, "name": name})
            place = root / f"{number:02d}-{_slug(name)}" / f"seed-{seed}"
            done = finished_evaluation(seeded, place, data)
            if done is None:
                said = each.data.model_dump_json()
                if said not in opened:
                    opened[said] = open_parts(each, fetch=fetch)
                shown = None if progress is None else _shown(progress, name, seed)
                done = train_on(opened[said], seeded, place, data, progress=shown).evaluation
            else:
                with locked(place):  # a kill between result and page leaves a draft, or no page
                    if not (place / "report.html").is_file():
                        save_page(done, place)
            found[name].append(done)
        result = comparison(found, seeds=chosen)
        if directory is not None:
            result.save_json(root / "comparison.json")
            save_page(result, root)
    return result


def remedies(recipe: Recipe, vary: Vary | None = None) -> dict[str, dict[str, Any]]:
    """The changes of each remedy, by its name.

    >>> recipe = load_recipe({"data": {"path": "x"}})
    >>> remedies(recipe, {"loss": ["Focal", {"name": "LogitAdjusted", "tau": 2}], "epochs": [5]})
    {'loss=Focal, epochs=5': {'loss': 'Focal', 'epochs': 5}, 'loss=LogitAdjusted(tau=2), epochs=5': ...}
    """
    if vary is None and recipe.compare is not None:
        vary = recipe.compare.vary
    values = list(vary.values()) if isinstance(vary, Mapping) else []
    named: list[tuple[str, dict[str, Any]]] = []
    if vary and all(isinstance(value, list | tuple) for value in values):
        _refuse_too_many(vary, math.prod(map(len, values)))
        combined = itertools.product(*([(key, value) for value in vary[key]] for key in vary))
        named = [(", ".join(f"{key}={_said(value)}" for key, value in each), dict(each)) for each in combined]
    elif vary and all(isinstance(value, Mapping) for value in values):
        _refuse_too_many(vary, len(values))
        named = [(str(name), dict(changes)) for name, changes in vary.items()]
    found = dict(named)
    if len(found) < 2 or len(found) < len(named):
        raise ArgumentError(
            "nothing to vary" if vary is None else f"vary={vary!r}",
            expected="two or more different remedies: mappings of keys by name, or lists of values by key",
            fix="pass vary={'loss': ['CrossEntropy', 'LogitAdjusted']}, or write compare.vary into the recipe",
        )
    for name, changes in found.items():
        shared = [key for key in changes if key.partition(".")[0] in _SHARED and key not in _NOT_SHARED]
        if shared:
            raise ArgumentError(
                f"the remedy {name!r}, which changes {shared[0]}",
                expected=f"what leaves samples and seeds as they are; of data only {' and '.join(_NOT_SHARED)}",
                fix="leave it out: what is not measured on the same samples can't be compared",
            )
    return found


def _refuse_too_many(vary: Vary, remedies: int) -> None:
    if remedies > MOST_RUNS:
        raise ArgumentError(
            f"{remedies} remedies, all combinations of {', '.join(map(str, vary))}",
            expected=f"at most {MOST_RUNS}",
            fix="vary fewer keys at a time",
        )


def _changed(base: Recipe, changes: Mapping[str, Any]) -> Recipe:
    return load_recipe(changed(base.document, changes), modules=base.modules, folder=base.folder)


def _seeds(base: Recipe, seeds: int | Sequence[int] | None) -> list[int]:
    if seeds is None:
        seeds = 5 if base.compare is None else base.compare.seeds
    given: Any = seeds
    if type(seeds) is int:
        given = range(min(seeds, MOST_RUNS + 1))
    sound = isinstance(given, list | tuple | range) and 0 < len(given) <= MOST_RUNS
    whole = sound and all(type(seed) is int and 0 <= seed < 2**32 for seed in given)
    if not whole or len(set(given)) < len(given):
        raise ArgumentError(
            f"seeds={seeds!r}", expected=f"a number from 1 to {MOST_RUNS}, or different seeds >= 0", fix="use seeds=5"
        )
    return list(given)


def _said(value: Any) -> str:
    """A value in a remedy's name."""
    if isinstance(value, Mapping) and "name" in value:
        options = ", ".join(f"{key}={_said(option)}" for key, option in value.items() if key != "name")
        return f"{value['name']}({options})"
    return value if isinstance(value, str) else json.dumps(value, default=str)


def _slug(name: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")[:60] or "remedy"


def _shown(progress: Progress, name: str, seed: int) -> Callable[[int, Mapping[str, float]], None]:
    return lambda epoch, figures: progress(name, seed, epoch, figures)


@contextmanager
def _place(directory: str | PathLike[str] | None) -> Iterator[Path]:
    if directory is not None:
        yield Path(fspath(directory)).absolute()
    else:
        with tempfile.TemporaryDirectory(prefix="tailfit-") as temporary:
            yield Path(temporary)
