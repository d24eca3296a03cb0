"""Does the output layer give what the loss expects: logits, or probabilities, and those of a softmax or of sigmoids?

A mismatch trains without an error and badly: softmax twice flattens the gradient, no softmax at all makes the
"probabilities" of a cross-entropy negative numbers that it clips; one softmax can't say that two labels are present.
"""

from typing import Any

import keras

from tailfit.errors import ArgumentError
from tailfit.keras_private import layer_behind
from tailfit.layers import WithFeatures

__all__ = ["refuse_contradicting_heads"]

_PROBABILITIES = {"softmax", "sigmoid"}
_LOGITS = {"linear"}


def refuse_contradicting_heads(model: keras.Model, loss: Any) -> None:
    """Raise where `from_logits` of a loss contradicts the activation of the output it belongs to.

    A loss of tailfit also says, by its `activation`, which probabilities it takes: of one softmax, or of sigmoids. What
    can't be told is let through: subclassed models, output layers without an activation of a known name.

    Raises:
        ArgumentError: naming the output layer, its activation and the loss.
    """
    outputs = getattr(model, "outputs", None)
    if not outputs:
        return
    names = list(getattr(model, "output_names", ()))
    for position, layer in enumerate(_output_layers(outputs)):
        head = _loss_of_output(loss, position, names[position] if position < len(names) else None, len(outputs))
        from_logits = _from_logits(head)
        activation = _activation(layer)
        if from_logits is True and activation in _PROBABILITIES:
            fix = f"remove the activation (best for the numerics), or pass from_logits=False to {_name(head)}"
        elif from_logits is False and activation in _LOGITS:
            fix = f"pass from_logits=True to {_name(head)}, or end the model with a {_expected(head)}"
        elif from_logits is False and activation in _PROBABILITIES and activation not in _expected(head):
            fix = f"end the model with a {_expected(head)}, or without activation and pass from_logits=True"
        else:
            continue
        raise ArgumentError(
            f"{_name(head)} with from_logits={from_logits} for the output layer {layer.name!r}, whose activation is "
            f"{activation!r}",
            expected="from_logits=True for raw outputs, from_logits=False for probabilities: of one softmax over "
            "exclusive classes, of a sigmoid for each label by itself",
            fix=fix,
        )


def _output_layers(outputs: Any) -> list[Any]:
    layers = [layer_behind(output) for output in outputs]
    return [layer_behind(layer.input[0]) if isinstance(layer, WithFeatures) else layer for layer in layers]


def _loss_of_output(loss: Any, position: int, name: str | None, count: int) -> Any:
    if isinstance(loss, dict):
        return loss.get(name)
    if isinstance(loss, list | tuple):
        return loss[position] if position < len(loss) else None
    return loss if count == 1 else None


def _from_logits(loss: Any) -> Any:
    if isinstance(loss, str):
        try:
            loss = keras.losses.get(loss)
        except ValueError:
            return None  # Keras will say so itself
        return False if "crossentropy" in getattr(loss, "__name__", "") else None
    return getattr(loss, "from_logits", None)


def _expected(loss: Any) -> str:
    """What makes the probabilities that a loss takes; Keras' own losses don't say."""
    return str(getattr(loss, "activation", "softmax (sigmoid: multi-label)"))


def _activation(layer: Any) -> str | None:
    if isinstance(layer, keras.layers.Softmax):
        return "softmax"
    if isinstance(layer, keras.layers.Dense | keras.layers.Activation) or hasattr(layer, "kernel"):
        activation = getattr(layer, "activation", None)
        return "linear" if activation is None else getattr(activation, "__name__", None)
    return None


def _name(loss: Any) -> str:
    return loss if isinstance(loss, str) else type(loss).__name__
