"""A trained network with everything around it, as one Keras model from raw records to corrected scores."""

from collections.abc import Iterator
from typing import Any

import keras

from tailfit.exporting.filling import filled
from tailfit.recipes.result import Result
from tailfit.recipes.serving import serving_model
from tailfit.recipes.trained import Trained

__all__ = ["foreign_classes", "raw_network", "raw_shape"]


def raw_shape(result: Result) -> tuple[int, ...]:
    """Return the shape of one record before its missing readings are filled."""
    *axes, channels = result.input_shape
    fill = result.fill
    return (*axes, channels // 2 if fill is not None and fill.mask else channels)


def raw_network(trained: Trained) -> keras.Model:
    """Build a plain Keras model: filling of missing readings, normalisation, network, correction.

    The input `records` is float32, in the units of the training data; the output are the logits that `predict` returns.
    """
    result = trained.result
    records = keras.Input(raw_shape(result), name="records")
    x = records if result.fill is None else filled(records, result.fill)
    scores = serving_model(trained.model)(x)
    if result.scale is not None and result.offset is not None:
        # In float32 even for a network in lower precision, because small differences decide between classes.
        correction = keras.layers.Rescaling(result.scale.tolist(), result.offset.tolist(), dtype="float32")
        scores = correction(scores)
    return keras.Model(records, scores, name="tailfit")


def foreign_classes(config: Any) -> list[str]:
    """Return the names of classes in the configuration of a saved model that are not Keras' own.

    >>> foreign_classes({"module": "mine", "class_name": "Scale", "config": {"inner": {"module": "keras.layers"}}})
    ['mine.Scale']
    """
    return sorted(set(_foreign(config)))


def _foreign(config: Any) -> Iterator[str]:
    if isinstance(config, dict):
        module = config.get("module")
        if isinstance(module, str) and module.split(".")[0] not in ("keras", "builtins"):
            yield f"{module}.{config.get('class_name')}"
        elif module is None and isinstance(config.get("registered_name"), str) and "class_name" in config:
            yield str(config["registered_name"])
        for each in config.values():
            yield from _foreign(each)
    elif isinstance(config, list):
        for each in config:
            yield from _foreign(each)
