"""Private parts of a compiled Keras model: the variables of its losses and metrics, which pieces of a batch share.

| name | why |
|---|---|
| `Model._loss_tracker`, `_compile_metrics`, `_compile_loss` | their variables are updated by the whole batch |
| `Layer._trainable_variables`, `Model._flatten_layers` | weights of frozen layers are no state that pieces change |
| `Layer._clear_losses` | what layers added in a piece counts once |
"""

from typing import Any

import keras

__all__ = [
    "compiled_metrics_variables",
    "forget_losses_of_calls",
    "has_compiled_metrics",
    "output_loss_variables",
    "weights_of_layers",
]


def compiled_metrics_variables(model: keras.Model) -> list[Any]:
    """Return the variables of the loss that `fit` reports, of the losses of outputs, and of the compiled metrics."""
    own = [model._loss_tracker, model._compile_metrics]
    own_variables = [variable for metric in own if metric is not None for variable in metric.variables]
    return [*own_variables, *output_loss_variables(model)]


def output_loss_variables(model: keras.Model) -> list[Any]:
    """Return the variables of the means of the losses of single outputs."""
    return [variable for metric in getattr(model._compile_loss, "metrics", ()) for variable in metric.variables]


def has_compiled_metrics(model: keras.Model) -> bool:
    """Return whether the model has metrics apart from those of its losses."""
    known = {id(model._loss_tracker), *(id(metric) for metric in getattr(model._compile_loss, "metrics", ()))}
    return any(id(metric) not in known for metric in model.metrics)


def weights_of_layers(model: keras.Model) -> list[Any]:
    """Return the variables that were created as trainable, also those of frozen layers."""
    return [variable for layer in model._flatten_layers() for variable in layer._trainable_variables]


def forget_losses_of_calls(model: keras.Model) -> None:
    """Drop what layers passed to `add_loss` in their last call."""
    model._clear_losses()
