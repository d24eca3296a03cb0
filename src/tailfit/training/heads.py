"""Does the output layer give what the loss expects: logits, or probabilities, and those of a softmax or of sigmoids?

A mismatch trains without an error and badly: softmax twice flattens the gradient, no softmax at all makes the
"probabilities" of a cross-entropy negative numbers that it clips; one softmax can't say that two labels are present.

What is read here are attributes of Keras' layers and losses. Where one of them has gone, in a Keras yet to come, the
check can't be made, and says so. It says nothing where nothing could ever be known: subclassed models, layers and
functions of the user's own, losses that know no `from_logits`.
"""

import inspect
import warnings
from collections.abc import Mapping
from typing import Any

import keras

from tailfit.errors import ArgumentError
from tailfit.keras_private import Functional, inputs_behind, layer_behind, output_behind
from tailfit.layers import WithFeatures

__all__ = ["from_logits_of", "refuse_contradicting_heads"]

_PROBABILITIES = {"softmax", "sigmoid"}
_LOGITS = {"linear"}
_UNREADABLE = object()  # of a layer or a loss that must have it

# Layers that pass on what they are given, in another shape or order, or with zeros in it.
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
    """Raise where `from_logits` of a loss contradicts the activation of the output it belongs to.

    A loss of tailfit also says, by its `activation`, which probabilities it takes: of one softmax, or of sigmoids. What
    can't be told is let through: subclassed models, output layers without an activation of a known name.

    Raises:
        ArgumentError: naming the output layer, its activation and the loss.
    Warns:
        UserWarning: this Keras does not show the `activation` of one of its layers, or the `from_logits` of a loss.
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
    # A Sequential that is not built has none yet; what a subclass calls so is its own.
    return list(getattr(model, "outputs", None) or ()) if isinstance(model, keras.Sequential) else []


def from_logits_of(loss: Any) -> bool | None:
    """Whether a loss takes logits; None where it has no such option.

    Warns:
        UserWarning: it has, but does not say how it is set.
    """
    value = _from_logits(loss)
    if value is _UNREADABLE:
        warnings.warn(
            f"Received {_name(loss)}, which does not say whether it takes logits under Keras {keras.__version__}. "
            f"Expected from_logits as an attribute, or in get_config(). {_report_fix()}",
            UserWarning,
            stacklevel=3,
        )
        return None
    return None if value is None else bool(value)


def _refuse_contradiction(loss: Any, from_logits: bool, layer: Any, activation: str | None) -> None:
    if from_logits and activation in _PROBABILITIES:
        fix = f"remove the activation (best for the numerics), or pass from_logits=False to {_name(loss)}"
    elif not from_logits and activation in _LOGITS:
        fix = f"pass from_logits=True to {_name(loss)}, or end the model with a {_expected(loss)}"
    elif not from_logits and activation in _PROBABILITIES and activation not in _expected(loss):
        fix = f"end the model with a {_expected(loss)}, or without activation and pass from_logits=True"
    else:
        return
    raise ArgumentError(
        f"{_name(loss)} with from_logits={from_logits} for the output layer {layer.name!r}, whose activation is "
        f"{activation!r}",
        expected="from_logits=True for raw outputs, from_logits=False for probabilities: of one softmax over "
        "exclusive classes, of a sigmoid for each label by itself",
        fix=fix,
    )


def _warn_unchecked(loss: Any, from_logits: Any, layer: Any, activation: Any) -> None:
    hidden = f"the activation of the output layer {layer.name!r} ({type(layer).__name__})"
    if activation is not _UNREADABLE:
        hidden = f"from_logits of {_name(loss)}"
    warnings.warn(
        f"Received a model and {_name(loss)} under Keras {keras.__version__}, which does not show {hidden}: whether "
        "they fit was not checked. Expected from_logits=True for raw outputs, from_logits=False for probabilities. "
        + _report_fix(),
        UserWarning,
        stacklevel=5,
    )


def _report_fix() -> str:
    return "Fix: check it by yourself, and use a Keras version that tailfit is tested with (see CONTRIBUTING)"


def _loss_of_output(loss: Any, model: Any, position: int, count: int) -> Any:
    if isinstance(loss, Mapping):
        names = [list(getattr(model, "output_names", ()))]
        if isinstance(model.output, Mapping):  # its keys go before the names of layers; outputs are sorted by them
            names.insert(0, sorted(model.output))
        return next((loss[each[position]] for each in names if len(each) == count and each[position] in loss), None)
    if isinstance(loss, list | tuple):
        return loss[position] if position < len(loss) else None
    return loss if count == 1 else None


def _from_logits(loss: Any) -> Any:
    """True or False; None where a loss has no `from_logits`, and `_UNREADABLE` where it has and does not say it."""
    if isinstance(loss, str):
        try:
            loss = keras.losses.get(loss)
        except ValueError:
            return None  # Keras will say so itself
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
    """What a function, or a `functools.partial`, is called with where nobody passes this argument."""
    try:
        parameter = inspect.signature(function).parameters.get(name)
    except (TypeError, ValueError):
        return None
    return parameter.default if parameter is not None and isinstance(parameter.default, bool) else None


def _takes(cls: type, name: str) -> bool:
    """Whether the constructor, or that of a base class, has an argument of this name."""
    inits = [init for kind in cls.__mro__ if callable(init := vars(kind).get("__init__"))]
    return any(name in inspect.signature(init).parameters for init in inits)


def _expected(loss: Any) -> str:
    """What makes the probabilities that a loss takes; Keras' own losses don't say."""
    return str(getattr(loss, "activation", "softmax (sigmoid: multi-label)"))


def _activation_behind(output: Any) -> tuple[Any, Any]:
    """The layer that decides on an output's values, and the name of its activation; None where it is not known."""
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
    if not isinstance(layer, keras.layers.Layer):  # keras.ops.softmax of a symbolic tensor
        return type(layer).__name__.lower()
    if isinstance(layer, keras.layers.RNN):
        return None  # it goes into a state, and not out as it is
    if not _takes(type(layer), "activation"):
        # Of a layer of somebody else nobody knows what its call() does with the kernel.
        ours = type(layer).__module__.partition(".")[0] in ("keras", "tailfit")
        return "linear" if ours and hasattr(layer, "kernel") else None
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
