"""The runs of a comparison: one training per remedy and seed, in any process."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

from tailfit.evaluation.history import read_history
from tailfit.recipes.parts import Parts, open_parts
from tailfit.recipes.recipe import Recipe
from tailfit.recipes.rounds import Stopwatch, write_pace
from tailfit.recipes.training import train_on
from tailfit.recipes.transfer import (
    apply_keras_settings,
    described_modules,
    described_recipe,
    keras_settings,
    modules_of,
    recipe_of,
)

__all__ = ["Planned", "Progress", "RunEnded", "RunOfComparison", "RunTrainer", "last_epoch", "settings_of"]

Progress: TypeAlias = Callable[[str, int, int, Mapping[str, float]], None]
Planned: TypeAlias = Callable[[Mapping[tuple[str, int], int]], None]
RunEnded: TypeAlias = Callable[[str, int, Mapping[str, float]], None]


@dataclass(frozen=True, eq=False)
class RunOfComparison:
    """A remedy, trained with one seed.

    Attributes:
        remedy: Name of the remedy.
        recipe: Its recipe, with the seed.
        place: Absolute path of the run's directory.
        until: Number of epochs after which the run is interrupted and measured on the validation part; None trains it
            to the end.
        timed: Whether the time of its epochs is measured instead.
    """

    remedy: str
    recipe: Recipe
    place: Path
    until: int | None = None
    timed: bool = False

    @property
    def seed(self) -> int:
        """Seed of the run."""
        return self.recipe.seed

    def __str__(self) -> str:
        return f"{self.remedy}, seed {self.seed}"

    def described(self) -> dict[str, Any]:
        """Describe the run as JSON, for `RunTrainer.train_described`."""
        return {
            "recipe": described_recipe(self.recipe),
            "place": str(self.place),
            "until": self.until,
            "timed": self.timed,
        }


@dataclass(eq=False)
class RunTrainer:
    """Trains runs of a comparison in this process, one after another; data that they share are opened once.

    Attributes:
        data: Identity of the data; see `identity_of_data`.
        fetch: Whether a URL may be downloaded.
        modules: The user's modules, for `train_described`.
    """

    data: dict[str, Any]
    fetch: bool
    modules: Mapping[str, Any] = field(default_factory=dict)
    _opened: dict[str, Parts] = field(default_factory=dict)  # by `data` of the recipe

    def train(
        self,
        recipe: Recipe,
        place: Path,
        progress: Callable[[int, Mapping[str, float]], None] | None = None,
        *,
        until: int | None = None,
        timed: bool = False,
    ) -> None:
        """Train a recipe in a directory; see `train_on` and `RunOfComparison`."""
        key = recipe.data.model_dump_json()
        if key not in self._opened:
            self._opened[key] = open_parts(recipe, fetch=self.fetch)
        watch = Stopwatch(time.monotonic)

        def on_epoch(epoch: int, figures: Mapping[str, float]) -> None:
            watch.epoch_ended()
            if progress is not None:
                progress(epoch, figures)

        train_on(self._opened[key], recipe, place, self.data, progress=on_epoch, until=until, measure=not timed)
        if timed and watch.epochs:  # none if a process that was killed has trained them: their time is unknown
            write_pace(place, watch.pace())

    @classmethod
    def of(cls, settings: Mapping[str, Any]) -> "RunTrainer":
        """Apply the settings that another process has described, and return a trainer for its runs."""
        apply_keras_settings(settings["keras"])
        return cls(settings["data"], settings["fetch"], modules_of(settings["modules"]))

    def train_described(
        self, run: Mapping[str, Any], progress: Callable[[int, Mapping[str, float]], None] | None = None
    ) -> None:
        """Train a run that another process has described."""
        recipe = recipe_of(run["recipe"], self.modules)
        self.train(recipe, Path(run["place"]), progress, until=run["until"], timed=run["timed"])


def settings_of(runs: Sequence[RunOfComparison], data: Mapping[str, Any], fetch: bool) -> dict[str, Any]:
    """Describe what all runs of a comparison share as JSON, for `RunTrainer.of`.

    Raises:
        ArgumentError: If the user's modules can't be imported in other processes.
    """
    modules = described_modules(runs[0].recipe.modules)
    return {"data": dict(data), "fetch": fetch, "modules": modules, "keras": keras_settings()}


def last_epoch(place: Path) -> dict[str, float]:
    """Return loss and metrics of the last epoch of a run; empty if its `history.csv` is missing or damaged."""
    return {key: values[-1] for key, values in read_history(place).items() if values}
