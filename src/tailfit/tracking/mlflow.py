"""`MLflow`: a run with metrics, recipe, environment and report, in a store or on a server."""

import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from os import PathLike, fspath
from typing import Any, Final

import keras

from tailfit.errors import ArgumentError
from tailfit.extras import needed
from tailfit.tracking.base import attempted, environment, scalars
from tailfit.training.whole_fit import WholeFit
from tailfit.workers import place

__all__ = ["MLflow"]

_WHAT: Final = "the callback MLflow"
_LONGEST: Final = 500  # characters of a parameter, which every store accepts


class MLflow(WholeFit):
    """Log a training as a run of MLflow: metrics of each epoch, recipe, environment and results.

    The run is created at the end of the first epoch. If a run with `Resume` continues, it goes on in the same run of
    MLflow, and epochs that were logged before are not logged again. The active run of MLflow's own functions is neither
    used nor changed. MLflow's telemetry is switched off, unless `MLFLOW_DISABLE_TELEMETRY` is set. Of several workers,
    rank 0 logs.

    Args:
        tracking_uri: `http://` address of a server, `sqlite:///` path (needs the package mlflow), or `file:` path
            (needs the environment variable `MLFLOW_ALLOW_FILE_STORE=true`). By default the one that MLflow is
            configured with, such as `$MLFLOW_TRACKING_URI`.
        experiment: Name of the experiment, created if needed.
        run_name: Name of the run; by default MLflow chooses one.
        recipe: Configuration, a nested dict: its values are logged as parameters, and all of it as `recipe.json`.
    Raises:
        ArgumentError: If an argument is of the wrong type; in `fit`, if the store or server can't be used.
        PackageError: If mlflow-skinny is not installed.
    Warns:
        TailfitWarning: If something can't be logged later; training continues.

    >>> MLflow("http://127.0.0.1:5000", experiment="faults", recipe={"loss": {"name": "Focal"}}).experiment
    'faults'
    """

    def __init__(
        self,
        tracking_uri: str | None = None,
        *,
        experiment: str = "tailfit",
        run_name: str | None = None,
        recipe: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__()
        for name, value in (("tracking_uri", tracking_uri), ("experiment", experiment), ("run_name", run_name)):
            if not (isinstance(value, str) and value) and (value is not None or name == "experiment"):
                raise ArgumentError(
                    f"{name}={value!r}", expected="text that is not empty", fix=f"pass a string as {name}="
                )
        if recipe is not None and not isinstance(recipe, Mapping):
            raise ArgumentError(f"recipe={recipe!r:.60}", expected="a dict, or None", fix="pass recipe.plain()")
        _library()
        self.tracking_uri: Final = tracking_uri
        self.experiment: Final = experiment
        self.run_name: Final = run_name
        self.recipe: Final = recipe
        self.run_id: str | None = None
        self._client: Any = None
        self._experiment_id = ""
        self._logged: int | None = -1  # last epoch that is logged; None if it must be looked up

    def get_state(self) -> dict[str, str]:
        """Return the ID of the run, for `Resume`."""
        return {"run_id": self.run_id or ""}

    def set_state(self, state: Mapping[str, str]) -> None:
        """Continue a run of MLflow."""
        self.run_id = str(state["run_id"]) or None
        self._logged = -1 if self.run_id is None else None

    @contextmanager
    def fit_context(self, model: keras.Model, call: dict[str, Any]) -> Iterator[None]:
        """Connect to the store, and set the status of the run if the fit fails; entered by `tailfit.Model.fit`."""
        if not place().rank:
            self._connect()
        try:
            yield
        except (KeyboardInterrupt, SystemExit):
            self._set_status("KILLED")
            raise
        except BaseException:
            self._set_status("FAILED")
            raise

    def on_train_begin(self, logs: Mapping[str, Any] | None = None) -> None:
        self.run_id, self._logged = None, -1  # `Resume` restores its state after this
        if self._client is None and not place().rank:  # the fit of a plain keras.Model
            self._connect()

    def on_epoch_end(self, epoch: int, logs: Mapping[str, Any] | None = None) -> None:
        if place().rank:
            return
        values = scalars(logs)
        attempted("Logging to MLflow", lambda: self._log(values, epoch))

    def on_train_end(self, logs: Mapping[str, Any] | None = None) -> None:
        self._set_status("FINISHED")

    def log_results(self, figures: Mapping[str, float], report: str | PathLike[str] | None = None) -> None:
        """Log figures of an evaluation after the training, and its report as an artefact.

        Args:
            figures: Figures by name, logged as `test_NAME`.
            report: Path of a report page.
        """

        def log() -> None:
            for name, value in figures.items():
                self._client.log_metric(self.run_id, f"test_{name}", value)
            if report is not None:
                self._client.log_artifact(self.run_id, fspath(report))

        if self.run_id is not None and self._client is not None:
            attempted("Logging to MLflow", log)

    def _connect(self) -> None:
        library = _library()
        try:
            self._client = library.MlflowClient(self.tracking_uri)
            found = self._client.get_experiment_by_name(self.experiment)
            self._experiment_id = (
                self._client.create_experiment(self.experiment) if found is None else found.experiment_id
            )
        except Exception as error:  # of many classes, also of other libraries
            self._client = None
            lines = str(error).splitlines() or [type(error).__name__]
            raise ArgumentError(
                f"tracking_uri={self.tracking_uri!r} for MLflow: {lines[0][:300]}",
                expected="a server that answers, or a store that the installed packages can write",
                fix="start the server, or pass sqlite:///mlflow.db and run: pip install mlflow",
            ) from error

    def _log(self, values: Mapping[str, float], epoch: int) -> None:
        entities = needed("mlflow.entities", "mlflow", _WHAT)
        if self.run_id is None:
            run = self._client.create_run(self._experiment_id, run_name=self.run_name)
            self.run_id = run.info.run_id
            self._describe(entities)
        if self._logged is None:
            self._logged = self._last_epoch()
        if epoch > self._logged:
            now = int(time.time() * 1000)
            metrics = [entities.Metric(name, value, now, epoch) for name, value in values.items()]
            self._client.log_batch(self.run_id, metrics=metrics)
            self._logged = epoch

    def _describe(self, entities: Any) -> None:
        self._client.log_dict(self.run_id, environment(), "environment.json")
        if self.recipe is not None:
            self._client.log_dict(self.run_id, dict(self.recipe), "recipe.json")
            flat = list(_flat(self.recipe))
            for start in range(0, len(flat), 100):  # the most that a call may have
                parameters = [entities.Param(name, text) for name, text in flat[start : start + 100]]
                self._client.log_batch(self.run_id, params=parameters)

    def _last_epoch(self) -> int:
        """Return the last epoch that the run has a loss of, and mark the run as running."""
        self._client.update_run(self.run_id, status="RUNNING")
        return max((each.step for each in self._client.get_metric_history(self.run_id, "loss")), default=-1)

    def _set_status(self, status: str) -> None:
        if self.run_id is not None and self._client is not None:
            attempted("Logging to MLflow", lambda: self._client.set_terminated(self.run_id, status=status))


def _library() -> Any:
    """Import MLflow with its telemetry off, unless the user has set it: a training contacts nobody by itself."""
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    return needed("mlflow", "mlflow", _WHAT)


def _flat(value: Any, prefix: str = "") -> Iterator[tuple[str, str]]:
    """Yield dotted names and texts of the values of a nested dict, without those that are None."""
    for key, each in value.items():
        if isinstance(each, Mapping):
            yield from _flat(each, f"{prefix}{key}.")
        elif each is not None:
            yield f"{prefix}{key}", str(each)[:_LONGEST]
