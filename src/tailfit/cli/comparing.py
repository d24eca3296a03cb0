"""`tailfit compare`, and its progress: finished and running trainings, time left, and the ranking so far."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from rich.console import Group
from rich.live import Live
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from rich.text import Text

from tailfit.cli.next_steps import after_comparison, print_next
from tailfit.cli.progress import hint_when_stopped
from tailfit.cli.reporting import console_of_any_width
from tailfit.recipes import compare, load_recipe
from tailfit.recipes.document import Document
from tailfit.terminal import PlainConsole
from tailfit.text import visible

__all__ = ["ComparisonProgress", "run_compare"]

_STANDING: Final = "val_balanced_accuracy"
_MOST_SHOWN: Final = 4  # runs and remedies


def run_compare(
    document: Document,
    out: Path,
    *,
    seeds: int | None,
    modules: Sequence[str],
    fetch: bool,
    verify: bool,
    jobs: int,
    ray: str | None,
    suite: str | None = None,
    budget: float | None = None,
    folds: int | None = None,
    as_json: bool = False,
) -> None:
    """Train all remedies of a recipe, and print the comparison."""
    recipe = load_recipe(document, modules=modules)
    shown = ComparisonProgress()
    with hint_when_stopped(), shown.live():
        result = compare(
            recipe,
            seeds=seeds,
            directory=out,
            jobs=jobs,
            ray=ray,
            suite=suite,
            budget=budget,
            folds=folds,
            fetch=fetch,
            verify=verify,
            progress=shown.epoch_ended,
            run_ended=shown.run_ended,
            planned=shown.planned,
        )
    if as_json:
        print(result.to_json())
        return
    console = console_of_any_width()
    console.print(result.table())
    console.print(f"Written: {out} (open report.html)", soft_wrap=True)
    if steps := after_comparison(recipe, out, len(result.seeds)):
        print_next(console, steps)


class ComparisonProgress:
    """The state of a comparison, as text and as a bar."""

    def __init__(self) -> None:
        self._epochs: dict[tuple[str, int], int] = {}  # planned
        self._seen: dict[tuple[str, int], int] = {}  # done, now or before
        self._running: set[tuple[str, int]] = set()
        self._speeds: dict[tuple[str, int], float] = {}  # samples per second of the running trainings
        self._latest: dict[tuple[str, int], float] = {}  # their metric of the standing
        self._ended: dict[tuple[str, int], float | None] = {}  # metric of the standing
        self._counted = 0  # epochs that took time now
        columns = (TextColumn("{task.description}", markup=False), BarColumn(), TimeRemainingColumn())
        self._bar = Progress(*columns, console=PlainConsole(stderr=True))
        self._task = self._bar.add_task(self.count(), total=None)
        self._live: Live | None = None

    @contextmanager
    def live(self) -> Iterator[None]:
        """Show the progress on standard error while the context is open."""
        with Live(self._rendered(), console=self._bar.console, transient=True) as self._live:
            yield

    def planned(self, epochs: Mapping[tuple[str, int], int]) -> None:
        """Set the number of epochs of each run; see `tailfit.compare`."""
        self._epochs = dict(epochs)
        self._show()

    def epoch_ended(self, remedy: str, seed: int, epoch: int, figures: Mapping[str, float]) -> None:
        """Count an epoch; see `tailfit.compare`."""
        self._running.add((remedy, seed))
        self._seen[remedy, seed] = epoch
        self._counted += 1
        for kept, name in ((self._speeds, "samples_per_second"), (self._latest, _STANDING)):
            if name in figures:
                kept[remedy, seed] = figures[name]
        self._show()

    def run_ended(self, remedy: str, seed: int, figures: Mapping[str, float]) -> None:
        """Count a run that has ended, or was interrupted in a race; see `tailfit.compare`."""
        self._running.discard((remedy, seed))
        self._seen[remedy, seed] = self._epochs.get((remedy, seed), 0)  # also with early stopping
        self._speeds.pop((remedy, seed), None)
        self._latest.pop((remedy, seed), None)
        self._ended[remedy, seed] = figures.get(_STANDING)
        self._show()

    def count(self) -> str:
        """Return the number of finished runs and of all, and the total speed of the running ones."""
        speed = f", {sum(self._speeds.values()):,.0f} samples/s" if self._speeds else ""
        done = sum(self._seen[run] >= self._epochs.get(run, 0) for run in self._ended)
        return f"{done} of {len(self._epochs)} runs{speed}"

    def running(self) -> str:
        """Return the running trainings, with their epochs and their latest metric."""
        runs = [
            f"{run[0]}, seed {run[1]} ({self._seen[run]}/{self._epochs.get(run, '?')}{_metric(self._latest.get(run))})"
            for run in sorted(self._running)
        ]
        return _listed("running", "; ".join(runs[:_MOST_SHOWN]), len(runs))

    def standing(self) -> str:
        """Return the mean validation metric of the finished runs of each remedy, best first."""
        values: dict[str, list[float]] = {}
        for (remedy, _), value in self._ended.items():
            if value is not None:
                values.setdefault(remedy, []).append(value)
        means = sorted(((sum(each) / len(each), name) for name, each in values.items()), reverse=True)
        texts = [f"{name} {mean:.3f}" for mean, name in means]
        return _listed(f"{_STANDING} so far", ", ".join(texts[:_MOST_SHOWN]), len(texts))

    def _show(self) -> None:
        left = sum(max(0, epochs - self._seen.get(run, 0)) for run, epochs in self._epochs.items())
        self._bar.update(
            self._task, description=self.count(), completed=self._counted, total=self._counted + left or None
        )
        if self._live is not None:
            self._live.update(self._rendered())

    def _rendered(self) -> Group:
        lines = [line for line in (self.running(), self.standing()) if line]
        return Group(self._bar, *(Text(line, no_wrap=True, overflow="ellipsis") for line in lines))


def _metric(value: float | None) -> str:
    return "" if value is None else f": {value:.3f}"


def _listed(what: str, texts: str, number: int) -> str:
    return visible(f"{what}: {texts}{', ...' * (number > _MOST_SHOWN)}") if number else ""
