"""The remedies and seeds of a comparison, from its recipe or from arguments."""

import itertools
import json
import math
import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

from tailfit import schedules
from tailfit.errors import ArgumentError
from tailfit.recipes.overriding import with_changes
from tailfit.recipes.recipe import MAX_RUNS, Recipe, load_recipe

__all__ = ["Vary", "changes_late", "checked_seeds", "folder_name", "remedies", "with_remedy"]

Vary = Mapping[str, Mapping[str, Any] | Sequence[Any]]

# Keys that remedies can't change, because they are evaluated on the same samples with the same seeds; and exceptions.
_FIXED_KEYS: Final = ("backend", "compare", "data", "name", "seed")
_FREE_KEYS: Final = ("data.fill_missing", "data.normalize")


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


def with_remedy(base: Recipe, changes: Mapping[str, Any]) -> Recipe:
    """Return the recipe of a remedy.

    Raises:
        ArgumentError, DataError: If a change is invalid.
    """
    return load_recipe(with_changes(base.document, changes), modules=base.modules, folder=base.folder)


def changes_late(recipe: Recipe) -> bool:
    """Return whether a recipe has a schedule besides that of the learning rate, so that its last epochs differ."""
    own = recipe.model_dump(include={"sampler", "loss", "class_weight", "steps"})
    return any(_has_schedule(value) for value in own.values())


def _has_schedule(value: Any) -> bool:
    if isinstance(value, list):
        return any(map(_has_schedule, value))
    if not isinstance(value, Mapping):
        return False
    named = value.get("name")
    scheduled = isinstance(named, str) and issubclass(getattr(schedules, named, type), schedules.Schedule)
    # The sampler Progressive is a schedule, too: its option `epochs` is where it ends.
    return scheduled or "epochs" in value or any(map(_has_schedule, value.values()))


def checked_seeds(base: Recipe, seeds: int | Sequence[int] | None) -> list[int]:
    """Return the seeds of a comparison.

    Raises:
        ArgumentError: If they are not different whole numbers, or there are fewer than two.
    """
    if seeds is None:
        seeds = 5 if base.compare is None else base.compare.seeds
    given: Any = seeds
    if type(seeds) is int:
        given = range(min(seeds, MAX_RUNS + 1))
    sound = isinstance(given, list | tuple | range) and 1 < len(given) <= MAX_RUNS
    whole = sound and all(type(seed) is int and 0 <= seed < 2**32 for seed in given)
    if not whole or len(set(given)) < len(given):
        raise ArgumentError(
            f"seeds={seeds!r}",
            expected=f"a number from 2 to {MAX_RUNS}, or a list of different seeds >= 0: with one seed, chance "
            "can't be distinguished from a better remedy",
            fix="use seeds=5, for example",
        )
    return list(given)


def _value_text(value: Any) -> str:
    """Return a value as text for a remedy's name."""
    if isinstance(value, Mapping) and "name" in value:
        options = ", ".join(f"{key}={_value_text(option)}" for key, option in value.items() if key != "name")
        return f"{value['name']}({options})"
    return value if isinstance(value, str) else json.dumps(value, default=str)


def folder_name(name: str) -> str:
    """Return the name of a remedy as part of a folder's name."""
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")[:60] or "remedy"
