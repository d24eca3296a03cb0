"""The progress bars of commands, and the hint when a training is stopped."""

import shlex
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from tailfit.terminal import PlainConsole
from tailfit.text import visible

__all__ = ["count_bar", "hint_when_stopped", "training_bar"]

_SHOWN = ("val_balanced_accuracy", "val_loss", "loss", "balanced_accuracy")  # the first two available are shown


@contextmanager
def hint_when_stopped() -> Iterator[None]:
    """Print, after Ctrl-C or SIGTERM, the command that continues the run; the exception goes on to the caller."""
    try:
        yield
    except (KeyboardInterrupt, SystemExit):
        command = visible(shlex.join(["tailfit", *sys.argv[1:]]))
        print(f"\ntailfit: stopped. To continue the run, use the same command: {command}", file=sys.stderr)
        raise


@contextmanager
def count_bar(what: str) -> Iterator[Callable[[int, int], None]]:
    """Show a progress bar for counted samples or files; yield the function to call with the number done and of all."""
    columns = (TextColumn(what), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    console = PlainConsole(stderr=True)
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as shown:
        task = shown.add_task(what, total=None)
        yield lambda done, total: shown.update(task, completed=done, total=total)


@contextmanager
def training_bar(epochs: int) -> Iterator[Any]:
    """Show a progress bar for one training after another, with two of their metrics."""
    columns = (TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=PlainConsole(stderr=True)) as shown:
        task = shown.add_task("", total=epochs, visible=False)

        def advance(what: str, epoch: int, figures: Mapping[str, float]) -> None:
            metrics = ", ".join([f"{key} {figures[key]:.3f}" for key in _SHOWN if key in figures][:2])
            if "samples_per_second" in figures:
                metrics += f", {figures['samples_per_second']:,.0f} samples/s"
            if "fold" in figures:  # networks that are trained before the training, for `weights`
                what = f"fold {figures['fold']:.0f}"
            if "member" in figures:  # networks of an ensemble
                what = f"network {figures['member']:.0f}"
            shown.update(task, completed=epoch, visible=True, description=visible(f"{what}: {metrics}"))

        yield advance
