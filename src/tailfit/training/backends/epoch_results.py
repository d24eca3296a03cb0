"""Results of metrics that take longer than a step: computed at the end of an epoch, not for the logs of every step.

Keras computes the logs of an epoch, or of an evaluation, from the metrics themselves. So the logs of a step may lack a
slow result: callbacks do not find it after a batch, and a progress bar does not show an old number in its place.
"""

import logging
from contextlib import AbstractContextManager
from contextvars import ContextVar
from typing import Any, Literal

import keras

from tailfit.contexts import assigned
from tailfit.deferring import DEFERRED, results_deferred

__all__ = ["EpochResults", "Kind", "logs_of_step"]

Kind = Literal["train", "test"]
Logs = dict[str, Any]

_log = logging.getLogger("tailfit.training")
_running: ContextVar[tuple[Any, Kind] | None] = ContextVar("running", default=None)


def logs_of_step(model: Any, kind: Kind) -> AbstractContextManager[None]:
    """Return a context in which `model.get_metrics_result()` omits slow results; Keras' loop gets them later."""
    return assigned(_running, (model, kind))


class EpochResults(keras.Model):
    """Keras' trainer, whose loops add the results that its steps have left out."""

    # Names in the logs, found while a step ran or was traced.
    _tailfit_left_out_train: tuple[str, ...] = ()
    _tailfit_left_out_test: tuple[str, ...] = ()
    # Names of all results that `get_metrics_result` had in it; None before.
    _tailfit_results_train: frozenset[str] | None = None
    _tailfit_results_test: frozenset[str] | None = None
    _tailfit_evaluates = False

    def compile(self, *args: Any, **kwargs: Any) -> None:
        super().compile(*args, **kwargs)
        self._tailfit_left_out_train = self._tailfit_left_out_test = ()
        self._tailfit_results_train = self._tailfit_results_test = None

    def get_metrics_result(self) -> Logs:
        """Return the results of all metrics; within a step of `fit` or `evaluate`, without those that take long."""
        running = _running.get()
        if running is None or running[0] is not self:
            results: Logs = super().get_metrics_result()
            return results
        with results_deferred():
            results = super().get_metrics_result()
        self._leave_out(running[1], tuple(name for name, value in results.items() if value is DEFERRED))
        setattr(self, f"_tailfit_results_{running[1]}", frozenset(results))
        return {name: value for name, value in results.items() if value is not DEFERRED}

    def _leave_out(self, kind: Kind, names: tuple[str, ...]) -> None:
        if names and names != self._left_out(kind):
            _log.info("%s: computed at the end of an epoch, not after each step", ", ".join(names))
        setattr(self, f"_tailfit_left_out_{kind}", names)

    def _left_out(self, kind: Kind) -> tuple[str, ...]:
        names: tuple[str, ...] = getattr(self, f"_tailfit_left_out_{kind}")
        return names

    def _only_results(self, logs: Any, kind: Kind) -> bool:
        """Return whether the logs of a step have no values but results, which Keras' loop computes again at its end."""
        names = getattr(self, f"_tailfit_results_{kind}")
        return isinstance(logs, dict) and names is not None and logs.keys() | set(self._left_out(kind)) == names

    def _get_metrics_result_or_logs(self, logs: Any) -> Any:
        return self._completed(logs, "test" if self._tailfit_evaluates else "train")

    def _completed(self, logs: Any, kind: Kind) -> Any:
        """Return what Keras would return if the logs of a step lacked nothing."""
        names = self._left_out(kind)
        if not names or not isinstance(logs, dict):
            return super()._get_metrics_result_or_logs(logs)
        results = self.get_metrics_result()
        if logs.keys() | set(names) == results.keys():
            return results
        # The logs of a custom step: their other values are those of the last batch.
        return {**logs, **{name: results[name] for name in names if name in results}}

    def evaluate(self, *args: Any, **kwargs: Any) -> Any:
        before, self._tailfit_evaluates = self._tailfit_evaluates, True
        try:
            return super().evaluate(*args, **kwargs)
        finally:
            self._tailfit_evaluates = before

    def train_on_batch(
        self, x: Any, y: Any = None, sample_weight: Any = None, class_weight: Any = None, return_dict: bool = False
    ) -> Any:
        """Train on a batch; see `keras.Model.train_on_batch`."""
        logs = super().train_on_batch(x, y, sample_weight, class_weight, return_dict=True)
        return self._of_batch(logs, "train", return_dict)

    def test_on_batch(self, x: Any, y: Any = None, sample_weight: Any = None, return_dict: bool = False) -> Any:
        """Evaluate a batch; see `keras.Model.test_on_batch`."""
        return self._of_batch(super().test_on_batch(x, y, sample_weight, return_dict=True), "test", return_dict)

    def _of_batch(self, logs: Logs, kind: Kind, return_dict: bool) -> Any:
        names = self._left_out(kind)
        if names:
            results = self.get_metrics_result()
            added = {name: results[name] for name in names if name in results}
            logs = {**logs, **{name: float(keras.ops.convert_to_numpy(value)) for name, value in added.items()}}
        return logs if return_dict else self._flatten_metrics_in_order(logs)
