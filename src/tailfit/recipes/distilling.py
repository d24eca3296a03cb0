"""Copies of a trained network for the stage `DiVE`: the teacher, and a student that starts anew."""

import keras

from tailfit.keras_private import leaf_layers, without_tensorflow
from tailfit.training import Model

__all__ = ["frozen_copy", "start_anew"]


def frozen_copy(model: Model) -> keras.Model:
    """Return a copy of a functional network with its weights, which later changes of the network do not affect.

    >>> import numpy as np
    >>> inputs = keras.Input((2,))
    >>> model = Model(inputs, keras.layers.Dense(1, kernel_initializer="ones")(inputs))
    >>> copy = frozen_copy(model)
    >>> start_anew(model)
    >>> copy.predict(np.ones((1, 2)), verbose=0).tolist()
    [[2.0]]
    """
    copy = _built_anew(model)
    copy.set_weights(model.get_weights())
    copy.trainable = False
    return copy


def start_anew(model: Model) -> None:
    """Assign new initial weights to all layers that are trained; the others, such as a normalisation, keep theirs."""
    for layer, new in zip(leaf_layers(model), leaf_layers(_built_anew(model)), strict=True):
        if layer.trainable_variables:
            layer.set_weights(new.get_weights())


def _built_anew(model: Model) -> keras.Model:
    with without_tensorflow():
        return keras.models.clone_model(keras.Model(model.inputs, model.outputs))
