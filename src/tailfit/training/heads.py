"""Check that the output layer returns what the loss expects: logits, or probabilities of a softmax or of sigmoids.

A mismatch raises no error but trains badly: two softmaxes flatten the gradient; without any softmax, a cross-entropy
clips negative "probabilities"; a single softmax cannot represent two labels of one sample.

The check reads attributes of Keras' layers and losses. If a future version of Keras drops one, it warns that it could
not check. It is silent for models whose output can never be known: subclassed models, custom layers and functions, and
losses without `from_logits`.
"""

import inspect
import warnings
from collections.abc import Mapping
from typing import Any

import keras

from tailfit.errors import ArgumentError
from tailfit.keras_private import Functional, inputs_behind, layer_behind, output_behind
from tailfit.layers import Experts, WithFeatures

__all__ = ["from_logits_of", "refuse_contradicting_heads"]

_PROBABILITIES = {"softmax", "sigmoid"}
_LOGITS = {"linear"}
_UNREADABLE = object()  # the attribute should exist, but this Keras does not have it

# Layers that return their input values, reshaped, reordered or partly set to zero.
_PASS_ON = (
    WithFeatures,
    keras.layers.ActivityRegularization,
    keras.layers.Dropout,
    keras.layers.Flatten,
    keras.layers.Identity,
    keras.layers.Permute,
    keras.layers.RepeatVector,
    keras.layers.Reshape,
)


def refuse_contradicting_heads(model: keras.Model, loss: Any) -> None:
    """Raise if `from_logits` of a loss contradicts the activation of its output.

    The `activation` of a tailfit loss also states which probabilities it takes: those of one softmax, or of sigmoids.
    Outputs whose activation is not known are accepted: those of subclassed models, and activations of unknown names.

    Raises:
        ArgumentError: If they contradict; the message names the output layer, its activation and the loss.
    Warns:
        UserWarning: If this version of Keras hides the `activation` of a layer or the `from_logits` of a loss.
    """
    outputs = _outputs_of(model)
    for position, output in enumerate(outputs):
        head = _loss_of_output(loss, model, position, len(outputs))
        from_logits = None if head is None else _from_logits(head)
        if from_logits is None:
            continue
        layer, activation = _activation_behind(output)
        if activation is _UNREADABLE or (from_logits is _UNREADABLE and activation in _PROBABILITIES | _LOGITS):
            _warn_unchecked(head, from_logits, layer, activation)
        elif from_logits is not _UNREADABLE:
            _refuse_contradiction(head, bool(from_logits), layer, activation)


def _outputs_of(model: Any) -> list[Any]:
    if isinstance(model, Functional):
        return list(model.outputs)
    # A Sequential that is not built has no outputs yet. In a subclassed model `outputs` may be anything.
    return list(getattr(model, "outputs", None) or ()) if isinstance(model, keras.Sequential) else []


def from_logits_of(loss: Any) -> bool | None:
    """Return whether a loss takes logits; None if it has no such option.

    Warns:
        UserWarning: If it has the option, but this version of Keras hides its value.
    """
    value = _from_logits(loss)
    if value is _UNREADABLE:
        warnings.warn(
            f"Received {_name(loss)} of Keras {keras.__version__}, whose from_logits cannot be read. "
            f"Expected it as an attribute, or in get_config(). {_report_fix()}",
            UserWarning,
            stacklevel=3,
        )
        return None
    return None if value is None else bool(value)


def _refuse_contradiction(loss: Any, from_logits: bool, layer: Any, activation: str | None) -> None:
    if from_logits and activation in _PROBABILITIES:
        fix = f"remove the activation (numerically best), or pass from_logits=False to {_name(loss)}"
    elif not from_logits and activation in _LOGITS:
        fix = f"pass from_logits=True to {_name(loss)}, or end the model with a {_expected(loss)}"
    elif not from_logits and activation in _PROBABILITIES and activation not in _expected(loss):
        fix = f"end the model with a {_expected(loss)}, or without activation and pass from_logits=True"
    else:
        return
    raise ArgumentError(
        f"{_name(loss)} with from_logits={from_logits} for the output layer {layer.name!r}, whose activation is "
        f"{activation!r}",
        expected="from_logits=True for an output layer without activation, from_logits=False for probabilities: one "
        "softmax over exclusive classes, or one sigmoid per label",
        fix=fix,
    )


def _warn_unchecked(loss: Any, from_logits: Any, layer: Any, activation: Any) -> None:
    hidden = f"the activation of the output layer {layer.name!r} ({type(layer).__name__})"
    if activation is not _UNREADABLE:
        hidden = f"from_logits of {_name(loss)}"
    warnings.warn(
        f"Received a model and {_name(loss)} of Keras {keras.__version__}, where {hidden} cannot be read, so that "
        "from_logits was not checked. Expected from_logits=True for an output layer without activation, "
        "from_logits=False for probabilities. " + _report_fix(),
        UserWarning,
        stacklevel=5,
    )


def _report_fix() -> str:
    return "Fix: check it yourself, or install a Keras version that tailfit supports: pip install -U tailfit."


def _loss_of_output(loss: Any, model: Any, position: int, count: int) -> Any:
    if isinstance(loss, Mapping):
        names = [list(getattr(model, "output_names", ()))]
        if isinstance(model.output, Mapping):  # its keys take precedence over layer names; outputs are in their order
            names.insert(0, sorted(model.output))
        return next((loss[each[position]] for each in names if len(each) == count and each[position] in loss), None)
    if isinstance(loss, list | tuple):
        return loss[position] if position < len(loss) else None
    return loss if count == 1 else None


def _from_logits(loss: Any) -> Any:
    """Return `from_logits` of a loss; None if it has no such option, `_UNREADABLE` if Keras hides the value."""
    if isinstance(loss, str):
        try:
            loss = keras.losses.get(loss)
        except ValueError:
            return None  # Keras raises its own error
    if not isinstance(loss, keras.losses.Loss) and not hasattr(loss, "from_logits"):
        return _default_of(loss, "from_logits")
    if isinstance(getattr(loss, "from_logits", None), bool):
        return loss.from_logits
    if not _takes(type(loss), "from_logits"):
        return None
    try:
        # Some losses of Keras 3.16 have no attribute of that name.
        value = loss.get_config().get("from_logits")
    except NotImplementedError:
        value = None
    return value if isinstance(value, bool) else _UNREADABLE


def _default_of(function: Any, name: str) -> Any:
    """Return the default of an argument of a function or `functools.partial`; None if it is not a bool."""
    try:
        parameter = inspect.signature(function).parameters.get(name)
    except (TypeError, ValueError):
        return None
    return parameter.default if parameter is not None and isinstance(parameter.default, bool) else None


def _takes(cls: type, name: str) -> bool:
    """Return whether the constructor of a class, or of one of its bases, has an argument of this name."""
    inits = [init for kind in cls.__mro__ if callable(init := vars(kind).get("__init__"))]
    return any(name in inspect.signature(init).parameters for init in inits)


def _expected(loss: Any) -> str:
    """Return the activation whose probabilities a loss takes; Keras' own losses do not state it."""
    return str(getattr(loss, "activation", "softmax (sigmoid: multi-label)"))


def _activation_behind(output: Any) -> tuple[Any, Any]:
    """Return the layer that computes the values of an output, and its activation's name or None if not known."""
    layer = layer_behind(output)
    if isinstance(layer, keras.Model):
        inner = isinstance(layer, Functional | keras.Sequential)
        return _activation_behind(output_behind(output)) if inner else (layer, None)
    activation = _activation(layer)
    if isinstance(layer, _PASS_ON) or (isinstance(layer, keras.layers.Activation) and activation in _LOGITS):
        return _activation_behind(inputs_behind(output)[0])
    return layer, activation


def _activation(layer: Any) -> Any:
    if isinstance(layer, keras.layers.TimeDistributed):
        return _activation(layer.layer)
    if isinstance(layer, keras.layers.Softmax):
        return "softmax"
    if isinstance(layer, Experts):
        return "linear"
    if not isinstance(layer, keras.layers.Layer):  # keras.ops.softmax of a symbolic tensor
        return type(layer).__name__.lower()
    if isinstance(layer, keras.layers.RNN):
        return None  # the activation applies inside the cell, not to the output
    if not _takes(type(layer), "activation"):
        # A custom layer may apply an activation in its call().
        known = type(layer).__module__.partition(".")[0] in ("keras", "tailfit")
        return "linear" if known and hasattr(layer, "kernel") else None
    activation = getattr(layer, "activation", _UNREADABLE)
    if isinstance(activation, keras.layers.Layer):
        return _activation(activation)
    return "linear" if activation is None else _UNREADABLE if activation is _UNREADABLE else _named(activation)


def _named(activation: Any) -> str | None:
    return getattr(activation, "__name__", None)


def _name(loss: Any) -> str:
    if isinstance(loss, str):
        return loss
    return str(getattr(loss, "__name__", type(loss).__name__))
