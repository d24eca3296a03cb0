"""`TensorBoard`: metrics of each epoch as event files, written by tensorboardX, which needs no TensorFlow."""

import json
import secrets
from collections.abc import Mapping
from os import PathLike, fspath
from pathlib import Path
from typing import Any, Final

import keras

from tailfit.errors import ArgumentError
from tailfit.extras import needed
from tailfit.tracking.base import attempted, environment, scalars
from tailfit.workers import place

__all__ = ["TensorBoard"]

_VALIDATION: Final = "val_"


class TensorBoard(keras.callbacks.Callback):
    """Write the loss and metrics of each epoch for TensorBoard, on every backend.

    As with Keras' own callback, `train` and `validation` are separate runs in the directory, so that `epoch_loss` of
    both are curves of one chart. If a run with `Resume` continues, epochs that were logged after its last checkpoint
    are replaced, so that each epoch appears once. Of several workers, rank 0 writes.

    Args:
        directory: Directory of the event files.
        recipe: Configuration to show as text, a nested dict.
        learning_rate: Whether to log the learning rate, too.
    Raises:
        ArgumentError: If the directory is not a path, or the recipe is not a dict.
        PackageError: If tensorboardX is not installed.
    Warns:
        TailfitWarning: If a file can't be written; training continues.

    >>> import tempfile, numpy as np, tailfit
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     model = tailfit.Model(inputs := keras.Input((2,)), keras.layers.Dense(1)(inputs))
    ...     model.compile("sgd", "mse")
    ...     logger = tailfit.callbacks.TensorBoard(folder)
    ...     history = model.fit(np.ones((4, 2)), np.ones((4, 1)), callbacks=[logger], verbose=0)
    ...     len(list(Path(folder, "train").glob("events.*")))
    1
    """

    def __init__(
        self,
        directory: str | PathLike[str],
        *,
        recipe: Mapping[str, Any] | None = None,
        learning_rate: bool = True,
    ) -> None:
        super().__init__()
        if not isinstance(directory, str | PathLike):
            raise ArgumentError(
                f"directory={directory!r}", expected="a path", fix="pass 'runs/1/tensorboard', for example"
            )
        if recipe is not None and not isinstance(recipe, Mapping):
            raise ArgumentError(f"recipe={recipe!r:.60}", expected="a dict, or None", fix="pass recipe.plain()")
        needed("tensorboardX", "tensorboard", "the callback TensorBoard")
        self.directory: Final = Path(fspath(directory)).absolute()
        self.recipe: Final = recipe
        self.learning_rate: Final = learning_rate
        self._epochs = 0  # number of logged epochs
        self._writers: dict[str, Any] = {}

    def get_state(self) -> dict[str, int]:
        """Return the number of logged epochs, for `Resume`."""
        return {"epochs": self._epochs}

    def set_state(self, state: Mapping[str, int]) -> None:
        """Continue after a number of epochs; later ones in the files are replaced."""
        self._epochs = int(state["epochs"])

    def on_train_begin(self, logs: Mapping[str, Any] | None = None) -> None:
        self._epochs = 0  # `Resume` restores its state after this

    def on_epoch_end(self, epoch: int, logs: Mapping[str, Any] | None = None) -> None:
        values = scalars(logs)
        if self.learning_rate and "learning_rate" not in values and getattr(self.model, "optimizer", None) is not None:
            values["learning_rate"] = float(keras.ops.convert_to_numpy(self.model.optimizer.learning_rate))
        if not place().rank:
            attempted(f"Logging to {self.directory}", lambda: self._write(values, epoch))
        self._epochs = epoch + 1

    def on_train_end(self, logs: Mapping[str, Any] | None = None) -> None:
        self._close()

    def log_results(self, figures: Mapping[str, float], report: str | PathLike[str] | None = None) -> None:
        """Log figures of an evaluation after the training, and the path of its report.

        Args:
            figures: Figures by name.
            report: Path of a report page.
        """

        def write() -> None:
            writer = self._writer("evaluation")
            for name, value in figures.items():
                writer.add_scalar(f"test_{name}", value, self._epochs)
            if report is not None:
                writer.add_text("report", fspath(report))

        attempted(f"Logging to {self.directory}", write)
        self._close()

    def _write(self, values: Mapping[str, float], epoch: int) -> None:
        for name, value in values.items():
            part = "validation" if name.startswith(_VALIDATION) else "train"
            self._writer(part).add_scalar(f"epoch_{name.removeprefix(_VALIDATION)}", value, epoch)
        for writer in self._writers.values():
            writer.flush()

    def _writer(self, part: str) -> Any:
        if part not in self._writers:
            library = needed("tensorboardX", "tensorboard", "the callback TensorBoard")
            # Of a resumed run, TensorBoard drops the values at and after this step in the older files.
            # The suffix, because tensorboardX names files by the second, and would overwrite one of the same second.
            suffix = f".{secrets.token_hex(4)}"
            place = str(self.directory / part)
            writer = library.SummaryWriter(place, purge_step=self._epochs or None, filename_suffix=suffix)
            if part == "train" and not self._epochs:
                writer.add_text("environment", _as_markdown(environment()))
                if self.recipe is not None:
                    writer.add_text("recipe", _as_markdown(self.recipe))
            self._writers[part] = writer
        return self._writers[part]

    def _close(self) -> None:
        for writer in self._writers.values():
            attempted(f"Logging to {self.directory}", writer.close)
        self._writers = {}


def _as_markdown(value: Mapping[str, Any]) -> str:
    return "\n".join(f"    {line}" for line in json.dumps(value, indent=1, default=str).splitlines())
