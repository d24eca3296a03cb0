"""The base of all augmentations of sensor records."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, final

import numpy as np
from numpy.typing import NDArray

from tailfit.arguments import checked_number
from tailfit.errors import ArgumentError, DataError

__all__ = ["Augmentation", "Chain", "class_indices"]


@dataclass(frozen=True, kw_only=True)
class Augmentation(ABC):
    """A random change of sensor records, for `Batches(transform=)`.

    Args:
        share: Share of the records that are changed, in [0, 1].
        only_repeats: True changes only what a sampler repeats. If the samples of a class are drawn m times per epoch
            on average, a record of it is changed with probability 1 - 1/m, times `share`. So each sample is seen
            about once per epoch as it is, and classes that are not repeated stay as they are.
    Raises:
        ArgumentError: If an option is out of its bounds.

    To write one, derive from this class, decorate it with `dataclass`, and implement `changed`:

    >>> @dataclass(frozen=True, kw_only=True)
    ... class Reverse(Augmentation):
    ...     def changed(self, x, y, rng):
    ...         return x[:, ::-1]
    >>> (x,) = Reverse()((np.array([[1.0, 2.0, 3.0]]),), np.random.default_rng(0))
    >>> x.tolist()
    [[3.0, 2.0, 1.0]]
    """

    share: float = 1.0
    only_repeats: bool = False
    _repeats: tuple[float, ...] | None = field(default=None, init=False, repr=False)

    def __post_init__(self) -> None:
        checked_number(self.share, "share", least=0, most=1, fix="pass share=0.5 to change half of the records")

    @abstractmethod
    def changed(self, x: NDArray[Any], y: Any, rng: np.random.Generator) -> NDArray[Any]:
        """Return the changed records `[n, steps, channels]`; `y` are their labels, None without labels."""

    @final
    def for_batches(self, batches: Any) -> "Augmentation":
        """Return this augmentation with the number of times that `batches` draw each class; `Batches` calls it."""
        if not self.only_repeats:
            return self
        counts = np.asarray(batches.source.class_counts, dtype=np.float64)
        drawn = batches.plan.class_sums(num_classes=len(counts))
        bound = replace(self)
        object.__setattr__(bound, "_repeats", tuple(drawn / np.maximum(counts, 1)))
        return bound

    @final
    def __call__(self, batch: tuple[Any, ...], rng: np.random.Generator) -> tuple[Any, ...]:
        """Return a batch `(x, ...)` with changed records; the given arrays are not modified.

        Raises:
            DataError: If the records are not one array of floats with steps and channels.
        """
        x = batch[0]
        if not (isinstance(x, np.ndarray) and x.ndim in (2, 3) and np.issubdtype(x.dtype, np.floating)):
            shown = f"an array of {x.dtype}, shape {x.shape}" if isinstance(x, np.ndarray) else f"a {type(x).__name__}"
            raise DataError(
                f"records that are {shown} for {type(self).__name__}",
                expected="one array of floats, shape (samples, steps, channels) or (samples, steps)",
                fix="convert the records with tailfit.data.Mapped, or write a transform of your own",
            )
        y = batch[1] if len(batch) > 1 else None
        chosen = rng.random(len(x)) < self._chances(y, len(x))
        if not chosen.any():
            return batch
        changed = self.changed(x if x.ndim == 3 else x[..., None], y, rng).astype(x.dtype, copy=False).reshape(x.shape)
        if not chosen.all():
            changed = np.where(chosen.reshape(-1, *[1] * (x.ndim - 1)), changed, x)
        return (changed, *batch[1:])

    def _chances(self, y: Any, n: int) -> Any:
        """Return the probability of each record to be changed."""
        if not self.only_repeats:
            return self.share
        if self._repeats is None or y is None:
            raise ArgumentError(
                "only_repeats=True without the batches that repeat samples",
                expected="an augmentation that a Batches of labelled samples applies",
                fix="pass it as Batches(transform=)",
            )
        repeats = np.asarray(self._repeats)[class_indices(y)]
        return self.share * np.maximum(1 - 1 / np.maximum(repeats, 1), 0)


def class_indices(y: Any) -> NDArray[np.int64]:
    """Return the class index of each label, given as class indices or one-hot.

    Raises:
        DataError: If a row has several classes, or shares of them.
    """
    labels: NDArray[Any] = np.asarray(y)
    if labels.ndim == 1:
        return labels.astype(np.int64)
    if not (np.isin(labels, (0, 1)).all() and (labels.sum(axis=1) == 1).all()):
        raise DataError(
            "labels with several classes or shares of classes",
            expected="one class per sample",
            fix="use an augmentation that needs no class: not MixWithinClass, and only_repeats=False",
        )
    indices: NDArray[np.int64] = np.argmax(labels, axis=1)
    return indices


@dataclass(frozen=True)
class Chain:
    """Several transforms of batches, one after the other.

    Args:
        transforms: Augmentations and functions `transform(batch, rng) -> batch`, in order.

    >>> from tailfit.augment import ChannelDropout, Jitter
    >>> chain = Chain([Jitter(sigma=0.1), ChannelDropout(rate=0.5)])
    >>> x, y = chain((np.ones((2, 5, 3), "float32"), np.array([0, 1])), np.random.default_rng(0))
    >>> x.shape
    (2, 5, 3)
    """

    transforms: Sequence[Callable[[tuple[Any, ...], np.random.Generator], tuple[Any, ...]]]

    def for_batches(self, batches: Any) -> "Chain":
        """Return the chain with the number of times that `batches` draw each class; `Batches` calls it."""
        prepared = [each.for_batches(batches) if isinstance(each, Augmentation) else each for each in self.transforms]
        return Chain(prepared)

    def __call__(self, batch: tuple[Any, ...], rng: np.random.Generator) -> tuple[Any, ...]:
        """Return the batch, changed by each transform."""
        for each in self.transforms:
            batch = each(batch, rng)
        return batch
