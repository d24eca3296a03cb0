"""Callbacks that a recipe names: loggers and callbacks of Keras."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final, TypeAlias

import keras

from tailfit.callbacks import MLflow, TensorBoard
from tailfit.evaluation import Evaluation
from tailfit.recipes.recipe import EarlyStopping, Recipe

__all__ = ["callbacks_of", "early_stopping_of", "log_results", "loggers_of"]

Logger: TypeAlias = TensorBoard | MLflow
_LOGGERS: Final[Mapping[str, Callable[[Recipe, Path], Logger]]] = {
    "tensorboard": lambda recipe, place: TensorBoard(place / "tensorboard", recipe=recipe.plain()),
    "mlflow": lambda recipe, place: MLflow(run_name=recipe.name, recipe=recipe.plain()),
}


def loggers_of(recipe: Recipe, place: Path) -> list[Logger]:
    """Build the loggers of a recipe.

    Args:
        recipe: Recipe with the key `log`.
        place: Directory of the run.
    """
    return [_LOGGERS[name](recipe, place) for name in recipe.log]


def callbacks_of(recipe: Recipe) -> list[keras.callbacks.Callback]:
    """Build the callbacks of Keras that a recipe names."""
    return [each.build() for each in recipe.callbacks]


def early_stopping_of(options: EarlyStopping) -> keras.callbacks.EarlyStopping:
    """Build the callback of `early_stopping`."""
    smaller_is_better = any(word in options.monitor for word in ("loss", "error"))
    return keras.callbacks.EarlyStopping(
        monitor=options.monitor,
        mode=options.mode or ("min" if smaller_is_better else "max"),
        patience=options.patience,
        min_delta=options.min_delta,
        start_from_epoch=options.start_from_epoch,
        restore_best_weights=True,
    )


def log_results(loggers: list[Logger], evaluation: Evaluation, report: Path) -> None:
    """Log the figures of a run's evaluation, and its report."""
    figures: dict[str, Any] = {name: float(value) for name, value in evaluation.overall.items() if value == value}
    for logger in loggers:
        logger.log_results(figures, report if report.is_file() else None)
