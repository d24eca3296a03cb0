"""A network whose inputs are changes of readings within a window, without their level, which differs between wells."""

import keras

import tailfit


def fluctuations(input_shape: tuple[int, ...], num_classes: int, normalize: tailfit.data.Normalize) -> tailfit.Model:
    """Build the network `cnn` on deviations from the mean of the window.

    The inverse hyperbolic sine keeps small and large deviations in one range: those within three minutes are often a
    thousandth of the differences between wells, by which readings are normalised.
    """
    inputs = keras.Input(input_shape)
    readings = normalize.layer()(inputs)
    deviations = readings - keras.ops.mean(readings, axis=1, keepdims=True)
    core = tailfit.networks.cnn(input_shape, num_classes, filters=[32, 32])
    return tailfit.Model(inputs, core(keras.ops.arcsinh(1000 * deviations) / 4))
