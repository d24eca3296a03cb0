"""The last layer of a network, and the features that it receives, for steps that need more than its scores."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import keras

from tailfit.errors import StepError
from tailfit.keras_private import inputs_behind, layer_behind
from tailfit.layers import CosineDense, WithFeatures

__all__ = ["classifier_of", "inputs_of"]


def classifier_of(model: keras.Model, step: str, *, logits: bool = False) -> Any:
    """Return the layer that computes the scores of the classes: the last one, apart from an activation after it.

    Args:
        model: Functional model with one output.
        step: Name of the step, for messages.
        logits: Whether the output must be logits that are linear in the features.
    Raises:
        StepError: If the last layer is another one.
    """
    skipped = WithFeatures if logits else keras.layers.Activation | keras.layers.Softmax | WithFeatures
    outputs = getattr(model, "outputs", None) or []
    layer = output = outputs[0] if len(outputs) == 1 else None
    while output is not None:
        layer = layer_behind(output)
        output = inputs_behind(output)[0] if isinstance(layer, skipped) else None
    known = keras.layers.Dense if logits else keras.layers.Dense | CosineDense
    if isinstance(layer, known) and layer.built and not (logits and layer.activation is not keras.activations.linear):
        return layer
    raise StepError(
        f"a model with {len(outputs)} outputs" if len(outputs) != 1 else f"a model whose last layer is {layer!r}",
        expected=f"a functional model that ends in a Dense layer{' of logits' if logits else ''}, for the step {step}",
        fix=f"end the network in keras.layers.Dense(num_classes), or drop {step} from steps=",
    )


@contextmanager
def inputs_of(layer: Any) -> Iterator[list[Any]]:
    """Collect the inputs of a layer in each of its calls within this context, with the layers before it as they are.

    A second model from the inputs to the features would not do: it would run all layers again, with another dropout.
    """
    seen: list[Any] = []
    own, call = vars(layer).get("call"), layer.call

    def recording(inputs: Any, *args: Any, **kwargs: Any) -> Any:
        seen.append(inputs)
        return call(inputs, *args, **kwargs)

    vars(layer)["call"] = recording  # not setattr, with which Keras and the backends track attributes
    try:
        yield seen
    finally:
        vars(layer).pop("call")
        if own is not None:
            vars(layer)["call"] = own
