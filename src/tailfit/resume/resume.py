"""`Resume`: the callback that saves the complete state of a run, so that the same call continues it."""

import warnings
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from os import PathLike, fspath
from pathlib import Path
from typing import Any, Final, Literal

import keras

from tailfit.arguments import whole_number
from tailfit.errors import ArgumentError, CheckpointError, StepError, WorkerError
from tailfit.resume.identity import MEANING, differences, identity_of
from tailfit.resume.lock import Lock
from tailfit.resume.remembered import Remembered
from tailfit.resume.run import ResumeWarning, Run
from tailfit.resume.saved import check_document, errors_name
from tailfit.resume.sharing import on_all_workers
from tailfit.resume.store import Checkpoint, Store
from tailfit.resume.wrapping import as_batches
from tailfit.training.feed import Feed
from tailfit.training.whole_fit import WholeFit

__all__ = ["Resume"]


class Resume(WholeFit):
    """Save a run in `tailfit.Model.fit`, so that the same call continues it as if it had never been interrupted.

    After a kill at any moment, the same call ends with exactly the weights, optimizer, metrics, history, state of
    callbacks, logs and order of samples of an uninterrupted run. If the run is finished, the call returns its result
    without training. Requires `tailfit.Model`, and `Batches` or arrays.

    On SIGTERM and Ctrl-C the current step is finished and saved, and the process exits with status 143 or
    `KeyboardInterrupt`. A validation that takes more than ten seconds, and the first one, has a checkpoint before it,
    and is interrupted at once; shorter ones are finished. A second signal acts at once.

    With several workers, rank 0 writes the checkpoints, to a directory that all can read. Their number is not part of a
    run: it may be different when the run continues.

    If a checkpoint can't be written (a full disk, a removed directory), a `ResumeWarning` is issued, and training
    continues.

    Args:
        directory: Directory for this run alone, created if needed. `tailfit.resume.store` describes its format.
        save_freq: `"epoch"`, or a number of steps, counted over the run. A checkpoint is also saved at the end of
            training and before a long validation.
        every_seconds: Time in seconds after which a checkpoint is saved in any case, at the end of a step.
        keep: Number of checkpoints that are kept.
        allow: Keys of `tailfit.resume.identity.MEANING` that may differ from the saved run; see there for the
            consequences.
    Raises:
        ArgumentError: If a value is out of range; in `fit`, if the data or a callback can't be continued exactly.
        CheckpointError: In `fit`, if the directory contains a different run, or is in use by another one.
        StepError: In `fit`, if training changes a variable that can't be found from the model, its losses or its
            callbacks; or the model is not a `tailfit.Model`.

    >>> import keras, numpy as np, tempfile, tailfit
    >>> def run(directory, epochs):
    ...     keras.utils.set_random_seed(1)
    ...     model = tailfit.Model(inputs := keras.Input((3,)), keras.layers.Dense(2)(keras.layers.Dropout(0.5)(inputs)))
    ...     model.compile("adam", tailfit.losses.CrossEntropy(from_logits=True))
    ...     batches = tailfit.Batches(tailfit.data.Arrays(np.eye(3, dtype="float32"), [0, 1, 1]), batch_size=2)
    ...     resume = tailfit.callbacks.Resume(directory, save_freq="epoch")
    ...     return model.fit(batches, epochs=epochs, callbacks=[resume], verbose=0).history["loss"]
    >>> with tempfile.TemporaryDirectory() as one, tempfile.TemporaryDirectory() as other:
    ...     begun = run(one, epochs=2)
    ...     run(one, epochs=4) == run(other, epochs=4)
    True
    """

    def __init__(
        self,
        directory: str | PathLike[str],
        save_freq: Literal["epoch"] | int = "epoch",
        every_seconds: float | None = None,
        keep: int = 3,
        *,
        allow: Sequence[str] = (),
    ) -> None:
        super().__init__()
        if save_freq != "epoch":
            save_freq = whole_number("save_freq", save_freq, least=1)
        number = isinstance(every_seconds, int | float)
        if every_seconds is not None and not (number and every_seconds >= 0):
            raise ArgumentError(
                f"every_seconds={every_seconds!r}",
                expected="a number of seconds >= 0, or None",
                fix="pass every_seconds=60, for example, or omit it",
            )
        if not isinstance(directory, str | PathLike):
            raise ArgumentError(f"directory={directory!r}", expected="a path", fix="pass 'runs/1', for example")
        keys = f"a list of keys from {', '.join(MEANING)}"
        if not isinstance(allow, Iterable):
            raise ArgumentError(f"allow={allow!r}", expected=keys, fix="pass allow=['batch_size'], for example")
        unknown = sorted({allow} if isinstance(allow, str) else set(allow) - MEANING.keys())
        if unknown:
            raise ArgumentError(f"allow with {unknown[0]!r}", expected=keys, fix="correct the key, and pass a list")
        self.directory: Final = Path(fspath(directory)).absolute()
        self.save_freq: Final = save_freq
        self.every_seconds: Final = every_seconds
        self.keep: Final = whole_number("keep", keep, least=1)
        self.allow: Final = frozenset(allow)
        self._run: Run | None = None  # during a fit

    @contextmanager
    def fit_context(self, model: keras.Model, call: dict[str, Any]) -> Iterator[None]:
        """Restore and save the run during a fit; `tailfit.Model.fit` enters this context."""
        feed = Feed(as_batches(model, call))
        call["x"] = feed
        remembered = Remembered(self._move_last(call))
        store = Store(self.directory, keep=self.keep)
        lock: Lock | None = None
        identity = identity_of(model, feed.batches, call.get("validation_data"), remembered.names())

        def found() -> Checkpoint | None:
            nonlocal lock
            store.make()
            lock = Lock(self.directory)
            store.sweep_drafts()  # here as well as when saving, because a finished run is not saved again
            return self._recover(store, identity)

        try:
            checkpoint = on_all_workers(store, found)
            with Run(
                model,
                feed,
                remembered,
                store,
                identity,
                save_freq=self.save_freq,
                every_seconds=self.every_seconds,
            ) as run:
                run.begin_at(checkpoint, call)
                feed.observer = self._run = run
                try:
                    yield
                except WorkerError:
                    run.leave_if_signalled()
                    raise
        finally:
            self._run = None
            if lock is not None:
                lock.release()

    def _move_last(self, call: dict[str, Any]) -> list[Any]:
        """Move this callback behind all others, and return the others, including the history."""
        given = call["callbacks"]
        several = isinstance(given, keras.callbacks.CallbackList)
        callbacks = given.callbacks if several else keras.tree.flatten(given)
        others = [callback for callback in callbacks if callback is not self]
        if any(isinstance(callback, Resume) for callback in others):
            raise ArgumentError(
                "two Resume callbacks", expected="one Resume callback", fix="remove one of the two callbacks"
            )
        if not any(isinstance(callback, keras.callbacks.History) for callback in others):
            others.append(keras.callbacks.History())  # Keras would add it behind this callback
        if several:
            given.callbacks[:] = [*others, self]
        else:
            call["callbacks"] = [*others, self]
        return others

    def _recover(self, store: Store, identity: dict[str, Any]) -> Checkpoint | None:
        """Return the checkpoint to continue from, after comparing its identity with that of this run."""
        checkpoint, damage = store.recover()
        for what in damage:
            warnings.warn(
                f"{what}. This checkpoint is damaged; it was set aside, and "
                + ("an older one is used." if checkpoint else "there is no older one: the run starts again."),
                ResumeWarning,
                stacklevel=2,
            )
        if checkpoint is None:
            return None
        with errors_name(self.directory / checkpoint.position.name):
            check_document(checkpoint)
        different = differences(checkpoint.state["identity"], identity)
        refused = {key: what for key, what in different.items() if key not in self.allow}
        if refused:
            raise CheckpointError(
                f"{self.directory}, which contains a different run: "
                + "; ".join(f"{key}: {what}" for key, what in refused.items()),
                expected="the run that was saved there",
                fix=f"use a different directory for this run, or pass allow={sorted(refused)} to continue nevertheless "
                f"({'; '.join(f'{key}: {MEANING[key]}' for key in refused)})",
            )
        for key in different:
            warnings.warn(f"{key}: {different[key]}; {MEANING[key]}.", ResumeWarning, stacklevel=2)
        return checkpoint

    # On JAX, Keras' own method would make the loop write its state back to the model when a callback accesses it.
    def set_model(self, model: Any) -> None:
        pass

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        if self._run is None:
            raise StepError(
                "Resume in the fit of a keras.Model",
                expected="a tailfit.Model, whose training loop can start at any step",
                fix="build the model with tailfit.Model instead of keras.Model",
            )
        self._run.training_begins()

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        if self._run is not None:
            self._run.epoch_begins(epoch)

    def on_test_begin(self, logs: dict[str, Any] | None = None) -> None:
        if self._run is not None:
            self._run.validation_begins()

    def on_test_end(self, logs: dict[str, Any] | None = None) -> None:
        if self._run is not None:
            self._run.validation_ends()

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        if self._run is not None:
            self._run.epoch_ends(epoch, last=epoch + 1 == self.params["epochs"])
