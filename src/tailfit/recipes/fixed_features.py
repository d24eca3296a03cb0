"""Fixed features of a network (`minirocket`), computed once for the whole training instead of in every epoch.

The rest of the network, which is trained, gets the features in place of the records. It shares its layers with the
whole network, which is evaluated, saved and served. The samples are drawn in the same order, with the same seeds,
weights and labels. So the trained weights are those of a training on the records, up to rounding.
"""

from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from tailfit import workers
from tailfit.data import Batches, Mapped, Source
from tailfit.networks.rocket import split_at_features
from tailfit.recipes.choices import Named
from tailfit.recipes.objects import compile_model, compiled_model, training_batches
from tailfit.recipes.parts import Parts
from tailfit.recipes.recipe import Recipe
from tailfit.steps import Step
from tailfit.training import Model

__all__ = ["MOST_BYTES", "Prepared", "prepared"]

MOST_BYTES: Final = 1 << 30  # of all features; beyond that, they are computed in every epoch


@dataclass(frozen=True)
class Prepared:
    """A compiled network with its batches, and the part of the network that is trained with its own.

    Attributes:
        model, batches: The compiled network, and the batches of the training part.
        fitted, fitted_batches, fitted_parts: What is passed to `fit`: the same, or the part of the network after its
            fixed features, and data with features in place of records.
    """

    model: Model
    batches: Batches
    fitted: Model
    fitted_batches: Batches
    fitted_parts: Parts


def prepared(
    recipe: Recipe, parts: Parts, batches: Batches, quality: NDArray[np.float64] | None, *, features_once: bool
) -> Prepared:
    """Build and compile the network, and compute its fixed features if it has any.

    Features are computed in every epoch, like the output of any layer, if the recipe changes records at random
    (`transform`, or a step that works on inputs), there are several workers, or the features take more than 1 GiB.

    Args:
        recipe: The recipe.
        parts: Its data.
        batches: The batches of the training part.
        quality: See `training_batches`.
        features_once: Whether fixed features may be computed once.
    """
    model = compiled_model(recipe, parts, batches)
    split = split_at_features(model) if features_once and _keeps_records(recipe, parts) else None
    sources = [parts.train, *([] if parts.validation is None else [parts.validation])]
    if split is None or 4 * split[0].output_shape[1] * sum(map(len, sources)) > MOST_BYTES:
        return Prepared(model, batches, model, batches, parts)
    body, rest = split
    computed = [_Computed(source, _features_of(body, source, recipe.batch_size)) for source in sources]
    validation = None if parts.validation is None else computed[1]
    of_features = replace(parts, train=computed[0], validation=validation)
    own = training_batches(recipe, of_features, quality)
    compile_model(recipe, of_features, own, rest)
    return Prepared(model, batches, rest, own, of_features)


def _keeps_records(recipe: Recipe, parts: Parts) -> bool:
    """Return whether the network gets the same records in every epoch."""
    changed = recipe.transform is not None or any(_works_on_inputs(step) for step in recipe.steps)
    return not changed and workers.place().world == 1 and not parts.train.ragged


def _works_on_inputs(step: Any) -> bool:
    """Return whether a step may change or use the inputs; a user's step is assumed to."""
    if not isinstance(step, Named):
        return True
    kind: Any = step.factory
    return kind.batch is not Step.batch or kind.forward is not Step.forward


def _features_of(body: Model, source: Source, size: int) -> NDArray[np.float32]:
    """Return the features of all records, computed in batches of the size of the training, all equally large.

    The rounding of a convolution depends on the size of the batch, and a feature counts steps whose response exceeds a
    bias, which is the response to a training record itself.
    """
    features = np.empty((len(source), body.output_shape[1]), np.float32)
    for start in range(0, len(source), size):
        rows = min(size, len(source) - start)
        records = np.asarray(source.read(np.arange(start, start + rows)))
        whole = np.concatenate([records, np.repeat(records[:1], size - rows, axis=0)])
        features[start : start + rows] = body.predict_on_batch(whole)[:rows]
    return features


class _Computed(Mapped):
    """A source whose records are replaced by an array in memory."""

    def __init__(self, source: Source, records: NDArray[np.float32]) -> None:
        super().__init__(source, _same)
        self._records: Final = records
        self.in_memory = True

    def _read(self, indices: NDArray[np.int64]) -> Any:
        return self._records[indices]


def _same(records: Any) -> Any:
    return records
