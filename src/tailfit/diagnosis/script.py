"""A script under examination: it runs in this process, and each `fit` is examined and then cut short.

- Training is limited to a few batches of one epoch. The history is filled up to the number of epochs with the values of
  this one, so that code after `fit` finds what it expects; it is never shown.
- Files that Keras writes (models, weights, checkpoints) go to a temporary folder, from which the script also loads
  them: a short training must not overwrite a long one.
"""

import inspect
import runpy
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from weakref import WeakKeyDictionary

import keras

from tailfit.diagnosis.batches import Batch, kind_of
from tailfit.diagnosis.examining import DoctorWarning, examine, examine_steps
from tailfit.diagnosis.finding import Finding, Place
from tailfit.diagnosis.observing import replaced, watched
from tailfit.diagnosis.setup import Setup

__all__ = ["Examination", "examined"]

_STEPS = 2
# A training that was cut short must not overwrite their files; or they need a server.
_WRITERS = ("BackupAndRestore", "CSVLogger", "RemoteMonitor", "TensorBoard")


class Examination:
    """Context in which calls of Keras models are examined.

    Args:
        script: File whose lines findings refer to.
        report: Called with each new finding.
        called: Called with the name of each method that was examined.
        failed: Called with a message for each check that could not be made.
    """

    def __init__(
        self,
        script: str,
        report: Callable[[Finding], None],
        called: Callable[[str], None] = lambda name: None,
        failed: Callable[[str], None] = lambda message: None,
    ) -> None:
        self._script, self._report, self._called, self._failed = script, report, called, failed
        self._seen: set[tuple[Any, ...]] = set()
        self._compiled: WeakKeyDictionary[Any, Place] = WeakKeyDictionary()
        self._looped: WeakKeyDictionary[Any, bool] = WeakKeyDictionary()
        self._inside = False
        self._stack = ExitStack()
        self._files: dict[str, str] = {}

    def __enter__(self) -> "Examination":
        folder = self._stack.enter_context(tempfile.TemporaryDirectory(ignore_cleanup_errors=True))
        self._folder = Path(folder)
        for name in ("compile", "fit", "evaluate", "train_on_batch"):
            self._replace(keras.Model, name, getattr(self, f"_{name}"))
        for name in ("save", "save_weights", "export"):
            self._replace(keras.Model, name, self._save)
        self._replace(keras.Model, "load_weights", self._load)
        for module in (keras.saving, keras.models):
            for name in ("load_model", "load_weights", "save_model", "save_weights"):
                if hasattr(module, name):
                    self._replace(module, name, self._load_function if name.startswith("load") else self._save_function)
        return self

    def __exit__(self, *error: object) -> None:
        self._stack.close()

    def _replace(self, owner: Any, name: str, replacement: Callable[..., Any]) -> None:
        self._stack.enter_context(replaced(owner, name, replacement))

    # -- examined calls -----------------------------------------------------------------------------

    def _compile(self, own: Callable[..., Any], model: Any, *args: Any, **kwargs: Any) -> Any:
        place = self._line()
        if place is not None and not self._inside:
            self._compiled[model] = place
        return own(model, *args, **kwargs)

    def _fit(self, own: Callable[..., Any], model: Any, *args: Any, **kwargs: Any) -> Any:
        if self._inside:
            return own(model, *args, **kwargs)
        given = _bound(own, model, args, kwargs)
        setup = self._examined(model, given, "fit")
        short = _shortened(setup)
        with (
            self._training(),
            _without_workers(given.get("x")),
            _without_workers(given.get("validation_data")),
            watched(setup) as seen,
        ):
            try:
                history = own(model, **short)
            except Exception as error:
                seen.error = error
                self._report_all(examine_steps, setup, seen)
                raise
        self._report_all(examine_steps, setup, seen)
        return _filled(history, given)

    def _evaluate(self, own: Callable[..., Any], model: Any, *args: Any, **kwargs: Any) -> Any:
        if self._inside:
            return own(model, *args, **kwargs)
        given = _bound(own, model, args, kwargs)
        setup = self._examined(model, given, "evaluate")
        steps = _limit(setup.x, given.get("steps"), setup.batch_size)
        with self._training(), _without_workers(given.get("x")):
            return own(model, **{**given, "steps": steps})

    def _train_on_batch(self, own: Callable[..., Any], model: Any, *args: Any, **kwargs: Any) -> Any:
        if not self._inside and model not in self._looped:
            self._looped[model] = True
            given = _bound(own, model, args, kwargs)
            self._examined(model, {**given, "batch_size": 2**31}, "fit")
        return own(model, *args, **kwargs)

    def _examined(self, model: Any, given: dict[str, Any], call: str) -> Setup:
        """Report the findings of a call; a generator in `given` is replaced by one that begins with the batch read."""
        first = None
        if kind_of(given.get("x")) == "generator":
            given["x"], first = _peeked(given["x"])
        places = {call: self._line(), "compile": self._compiled.get(model)}
        known = {name: place for name, place in places.items() if place is not None}
        setup = Setup(model, given, call, known, first)
        self._called(call)
        self._report_all(examine, setup)
        return setup

    def _report_all(self, examination: Callable[..., list[Finding]], *arguments: Any) -> None:
        """Report each finding of an examination once, and the checks that could not be made."""
        with self._training(), warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            findings = examination(*arguments)
        for warning in caught:
            if issubclass(warning.category, DoctorWarning):
                self._failed(str(warning.message))
        for finding in findings:
            key = (finding.trap, finding.title, finding.file, finding.line)
            if key not in self._seen:
                self._seen.add(key)
                self._report(finding)

    @contextmanager
    def _training(self) -> Iterator[None]:
        """Mark the calls in this context as part of an examined call, and hide their warnings."""
        before, self._inside = self._inside, True
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                yield
        finally:
            self._inside = before

    def _line(self) -> Place | None:
        """Return the line of the script that led to the current call."""
        frame = inspect.currentframe()
        while frame is not None:
            if frame.f_code.co_filename == self._script:
                return Place(self._script, frame.f_lineno)
            frame = frame.f_back
        return None

    # -- files --------------------------------------------------------------------------------------

    def _save(self, own: Callable[..., Any], model: Any, filepath: Any, *args: Any, **kwargs: Any) -> Any:
        return own(model, self._redirected(filepath), *args, **kwargs)

    def _load(self, own: Callable[..., Any], model: Any, filepath: Any, *args: Any, **kwargs: Any) -> Any:
        return own(model, self._files.get(str(filepath), filepath), *args, **kwargs)

    def _save_function(self, own: Callable[..., Any], model: Any, filepath: Any, *args: Any, **kwargs: Any) -> Any:
        return own(model, self._redirected(filepath), *args, **kwargs)

    def _load_function(self, own: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        args = tuple(self._files.get(str(each), each) if isinstance(each, str | Path) else each for each in args)
        kwargs = {key: self._files.get(str(each), each) if key == "filepath" else each for key, each in kwargs.items()}
        return own(*args, **kwargs)

    def _redirected(self, filepath: Any) -> Any:
        """Return the path in the temporary folder that stands for a path of the script."""
        name = str(filepath)
        if name in self._files.values() or not isinstance(filepath, str | Path):
            return filepath
        if name not in self._files:
            place = self._folder / str(len(self._files))
            place.mkdir()
            self._files[name] = str(place / Path(name).name)
        return self._files[name]


def examined(
    script: Path,
    arguments: list[str],
    report: Callable[[Finding], None],
    called: Callable[[str], None] = lambda name: None,
    failed: Callable[[str], None] = lambda message: None,
) -> None:
    """Run a script as `__main__` in this process, and report the findings of its calls.

    Raises:
        Exception: Whatever the script raises.
    """
    path = str(script)
    before = sys.argv, sys.path[:]
    sys.argv, sys.path[0:0] = [path, *arguments], [str(script.parent)]
    try:
        with Examination(path, report, called, failed):
            runpy.run_path(path, run_name="__main__")
    finally:
        sys.argv, sys.path[:] = before[0], before[1]


def _bound(own: Callable[..., Any], model: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any]:
    bound = inspect.signature(own).bind(model, *args, **kwargs).arguments
    given = {name: value for name, value in bound.items() if name not in ("self", "kwargs")}
    return {**given, **bound.get("kwargs", {})}


def _shortened(setup: Setup) -> dict[str, Any]:
    """Return the arguments of a `fit` of a few batches."""
    given = dict(setup.arguments)
    given["epochs"] = given.get("initial_epoch", 0) + 1
    given["steps_per_epoch"] = _limit(setup.x, given.get("steps_per_epoch"), setup.batch_size, setup.samples)
    given["verbose"] = 0
    given["callbacks"] = [each for each in setup.callbacks if type(each).__name__ not in _WRITERS]
    data = given.get("validation_data")
    if data is not None:
        x = data[0] if isinstance(data, tuple | list) else data
        size = given.get("validation_batch_size") or setup.batch_size
        given["validation_steps"] = _limit(x, given.get("validation_steps"), size)
    return given


def _limit(x: Any, given: int | None, batch_size: int, samples: int | None = None) -> int | None:
    """Return the number of batches to run: a few, and no more than there are."""
    kind = kind_of(x)
    if kind == "arrays":
        count = len(keras.tree.flatten(x)[0]) if samples is None else samples
        known = -(-count // batch_size)
    else:
        known = (x.num_batches if kind == "PyDataset" else None) or _STEPS
    return min(each for each in (given, known, _STEPS) if each)


def _peeked(generator: Any) -> tuple[Any, Batch | None]:
    """Return a generator that yields the same batches, and the first of them."""
    try:
        data = next(generator)
    except StopIteration:
        return generator, None

    def replay() -> Iterator[Any]:
        yield data
        yield from generator

    parts = keras.utils.unpack_x_y_sample_weight(data)
    arrays = [None if part is None else keras.tree.map_structure(keras.ops.convert_to_numpy, part) for part in parts]
    return replay(), Batch(*arrays)


@contextmanager
def _without_workers(data: Any) -> Iterator[None]:
    """Read a `PyDataset` without workers: forking under a backend with threads may hang."""
    if not isinstance(data, keras.utils.PyDataset):
        yield
        return
    workers, processes = data.workers, data.use_multiprocessing
    data.workers, data.use_multiprocessing = 1, False
    try:
        yield
    finally:
        data.workers, data.use_multiprocessing = workers, processes


def _filled(history: Any, given: dict[str, Any]) -> Any:
    """Fill a history up to the number of epochs."""
    epochs = range(given.get("initial_epoch", 0), given.get("epochs", 1))
    if isinstance(history, keras.callbacks.History) and len(epochs) > 1:
        history.epoch = list(epochs)
        for name, values in history.history.items():
            history.history[name] = [*values, *values[-1:] * (len(epochs) - len(values))]
    return history
