"""`Resume`: the callback that saves a run's whole state as it goes, and has the same call go on from there."""

import warnings
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from os import PathLike, fspath
from pathlib import Path
from typing import Any, Final, Literal

import keras

from tailfit.arguments import whole_number
from tailfit.errors import ArgumentError, CheckpointError, StepError
from tailfit.resume.identity import MEANING, differences, identity_of
from tailfit.resume.lock import Lock
from tailfit.resume.remembered import Remembered
from tailfit.resume.run import ResumeWarning, Run
from tailfit.resume.saved import check_document, told_of
from tailfit.resume.store import Checkpoint, Store
from tailfit.resume.wrapping import as_batches
from tailfit.training.feed import Feed
from tailfit.training.whole_fit import WholeFit

__all__ = ["Resume"]


class Resume(WholeFit):
    """Saves a run in `tailfit.Model.fit`, so that the same call, made again, goes on as if nothing had happened.

    Started again after a kill at any moment, a run ends with the weights, optimizer, metrics, history, state of
    callbacks, logs and order of samples of a run that was never killed, to the bit. Once it is finished, the same call
    only gives back its end. It needs `tailfit.Model`, and `Batches` or arrays.

    SIGTERM and Ctrl-C finish the step, save, and leave with exit status 143 or as `KeyboardInterrupt`. A validation of
    more than ten seconds, and the first one, has a checkpoint before it, and they end it at once; they wait for the end
    of shorter ones. A second signal acts at once.

    What can't be written (a full disk, a directory taken away) is a `ResumeWarning`, and training goes on.

    Args:
        directory: Of this run alone; made if there is none. Its format is described in `tailfit.resume.store`.
        save_freq: `"epoch"`, or a number of steps, counted over the run. The end of training is always saved, and what
            comes before a long validation.
        every_seconds: Save also when so long has passed since the last time, at the end of a step.
        keep: How many checkpoints stay.
        allow: What may differ from the run that was saved, of `tailfit.resume.identity.MEANING`, which says what then
            can't be exact.
    Raises:
        ArgumentError: for values out of range; in `fit` for data or callbacks that can't go on exactly.
        CheckpointError: in `fit`: another run was saved here, or is at work here.
        StepError: in `fit`: a variable is trained that can't be found from the model, its losses or callbacks; or the
            model is no `tailfit.Model`.

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
            raise ArgumentError(f"every_seconds={every_seconds!r}", expected="0 or more", fix="leave it out")
        if not isinstance(directory, str | PathLike):
            raise ArgumentError(f"directory={directory!r}", expected="a path", fix="pass one, e.g. 'runs/1'")
        if not isinstance(allow, Iterable):
            raise ArgumentError(f"allow={allow!r}", expected=f"a list of {', '.join(MEANING)}", fix="leave it out")
        unknown = sorted({allow} if isinstance(allow, str) else set(allow) - MEANING.keys())
        if unknown:
            raise ArgumentError(
                f"allow with {unknown[0]!r}", expected=f"a list of {', '.join(MEANING)}", fix="correct the name"
            )
        self.directory: Final = Path(fspath(directory)).absolute()
        self.save_freq: Final = save_freq
        self.every_seconds: Final = every_seconds
        self.keep: Final = whole_number("keep", keep, least=1)
        self.allow: Final = frozenset(allow)
        self._run: Run | None = None  # while a fit lasts

    @contextmanager
    def fit_context(self, model: keras.Model, call: dict[str, Any]) -> Iterator[None]:
        """Entered by `tailfit.Model.fit`."""
        feed = Feed(as_batches(model, call))
        call["x"] = feed
        remembered = Remembered(self._last_in(call))
        store = Store(self.directory, keep=self.keep)
        store.make()
        lock = Lock(self.directory)
        try:
            store.sweep_drafts()  # of a killed process: a run that is finished saves no more
            identity = identity_of(model, feed.batches, call.get("validation_data"), remembered.names())
            with Run(model, feed, remembered, store, identity, self.save_freq, self.every_seconds) as run:
                run.begin_at(self._found(store, identity), call)
                feed.observer = self._run = run
                yield
        finally:
            self._run = None
            lock.release()

    def _last_in(self, call: dict[str, Any]) -> list[Any]:
        """The other callbacks, the history among them; this one now comes after all of them."""
        given = call["callbacks"]
        several = isinstance(given, keras.callbacks.CallbackList)
        callbacks = given.callbacks if several else keras.tree.flatten(given)
        others = [callback for callback in callbacks if callback is not self]
        if any(isinstance(callback, Resume) for callback in others):
            raise ArgumentError("two Resume callbacks", expected="one", fix="leave one out")
        if not any(isinstance(callback, keras.callbacks.History) for callback in others):
            others.append(keras.callbacks.History())  # as Keras would, but after this one
        if several:
            given.callbacks[:] = [*others, self]
        else:
            call["callbacks"] = [*others, self]
        return others

    def _found(self, store: Store, identity: dict[str, Any]) -> Checkpoint | None:
        """The checkpoint to go on from, held against the run that wants to."""
        checkpoint, damage = store.recover()
        for what in damage:
            warnings.warn(
                f"{what}. This checkpoint is damaged; it was set aside, and "
                + ("an older one is used." if checkpoint else "there is no older one: the run begins anew."),
                ResumeWarning,
                stacklevel=2,
            )
        if checkpoint is None:
            return None
        with told_of(self.directory / checkpoint.position.name):
            check_document(checkpoint)
        different = differences(checkpoint.state["identity"], identity)
        refused = {key: what for key, what in different.items() if key not in self.allow}
        if refused:
            raise CheckpointError(
                f"{self.directory}, in which another run was saved: "
                + "; ".join(f"{key}: {what}" for key, what in refused.items()),
                expected="the run that was saved there",
                fix=f"give this run a directory of its own, or pass allow={sorted(refused)} if the run is to go on so "
                f"({'; '.join(f'{key}: {MEANING[key]}' for key in refused)})",
            )
        for key in different:
            warnings.warn(f"{key}: {different[key]}; {MEANING[key]}.", ResumeWarning, stacklevel=2)
        return checkpoint

    # Keras' own would fetch the state of a step out of the loop each time a callback asks for its model.
    def set_model(self, model: Any) -> None:
        pass

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        if self._run is None:
            raise StepError(
                "Resume in the fit of a keras.Model",
                expected="tailfit.Model, whose loop can begin at any step",
                fix="build the model with tailfit.Model in place of keras.Model",
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
