"""MiniRocket: fixed features of series, and a linear classifier, which trains in seconds."""

from typing import Any

import keras
import numpy as np

from tailfit.arguments import whole_number
from tailfit.data import Normalize, Source
from tailfit.data.records.ragged import Ragged
from tailfit.keras_private import Functional, leaf_layers
from tailfit.layers import MiniRocket
from tailfit.networks.frame import Head, Shape, check_series, input_layers, model_with_head
from tailfit.training import Model

__all__ = ["adapt_to", "minirocket", "split_at_features"]

_RECORDS = 1024  # from which biases and standard deviations are computed


def minirocket(
    input_shape: Shape,
    num_classes: int,
    *,
    num_features: int = 10_000,
    max_dilations: int = 32,
    seed: int = 0,
    records: Any = None,
    dropout: float = 0.0,
    head: Head | None = None,
    normalize: Normalize | None = None,
) -> Model:
    """Build MiniRocket: about 10,000 fixed features of the series, standardised; linear head.

    The features depend on the training records. Pass `records`, or call `adapt_to(model, source)` before training; a
    recipe does this by itself. Until then the outputs are NaN. The head can be trained like that of any network, from
    weights of 0; `tailfit.stages.ridge_classifier` computes it as the authors do, more accurately for few records.

    Args:
        input_shape: `(steps, channels)` of a record, with 9 steps or more.
        num_classes: Number of classes C.
        num_features, max_dilations, seed: See `tailfit.layers.MiniRocket`.
        records: Training records `(n, steps, channels)`, of which up to 1024 are used.
        dropout, head, normalize: See `mlp`.
    Shapes: input `(batch, steps, channels)`, output logits `(batch, C)`.
    Source: Dempster et al. 2021, arXiv:2012.08791. The paper's classifier is a ridge regression, and logistic
        regression for more than 10,000 records.
    Raises:
        ArgumentError: If the records do not have two axes or enough steps, or an option is out of range.

    >>> x = np.random.default_rng(0).normal(size=(20, 30, 2)).astype("float32")
    >>> minirocket((30, 2), 3, num_features=168, records=x).predict(x, verbose=0).shape
    (20, 3)
    """
    check_series("minirocket", input_shape)
    inputs, x = input_layers(input_shape, normalize)
    x = MiniRocket(num_features, max_dilations=max_dilations, seed=seed)(x)
    # Fewer records than features leave most directions of the weights as they begin: random weights would add noise.
    model = model_with_head(inputs, x, num_classes, dropout, head, kernel_initializer="zeros")
    if records is not None:
        _adapt(model, np.asarray(records))
    return model


def adapt_to(model: keras.Model, source: Source, *, seed: int = 0) -> None:
    """Adapt the layers of a network that depend on training records (`MiniRocket`) to those of a source.

    Networks without such layers are left alone, and nothing is read.

    Args:
        model: Network that takes records as the source has them.
        source: Training data.
        seed: Seed of the choice of records, of which up to 1024 are used.

    >>> from tailfit.data import Arrays
    >>> x = np.random.default_rng(0).normal(size=(20, 30, 2)).astype("float32")
    >>> model = minirocket((30, 2), 3, num_features=168)
    >>> adapt_to(model, Arrays(x))
    >>> bool(np.isfinite(model.predict(x, verbose=0)).all())
    True
    """
    if not _layers_to_adapt(model):
        return
    count = min(len(source), _RECORDS)
    positions = np.sort(np.random.default_rng(whole_number("seed", seed)).choice(len(source), count, replace=False))
    records = source.read(positions)
    _adapt(model, records.padded() if isinstance(records, Ragged) else records)


def split_at_features(model: keras.Model) -> tuple[Model, Model] | None:
    """Split a network into its fixed features and the rest, which share the layers of the network.

    Returns:
        The networks from the records to the features, and from these to the outputs; None if the network has no
        `MiniRocket`, or more than one.

    >>> model = minirocket((30, 2), 3, num_features=168)
    >>> [part.output_shape for part in split_at_features(model)]
    [(None, 168), (None, 3)]
    """
    layers = [layer for layer in getattr(model, "layers", []) if isinstance(layer, MiniRocket)]
    if len(layers) != 1 or not isinstance(model, Functional):
        return None
    features = layers[0].output
    return Model(model.input, features), Model(features, model.output)


def _adapt(model: keras.Model, records: Any) -> None:
    for layer in _layers_to_adapt(model):
        before = keras.Model(model.input, layer.input)
        layer.adapt(before.predict(records[:_RECORDS], verbose=0))


def _layers_to_adapt(model: keras.Model) -> list[Any]:
    return [layer for layer in leaf_layers(model) if isinstance(layer, MiniRocket)]
