"""A network whose inputs are changes of readings within a window, without their level, which differs between wells."""

import keras

import tailfit

# Arguments of each network: a small one, and one as published.
OPTIONS = {"cnn": {"filters": [32, 32]}, "fcn": {}}


def fluctuations(
    input_shape: tuple[int, ...], num_classes: int, normalize: tailfit.data.Normalize, network: str = "cnn"
) -> tailfit.Model:
    """Build a network of `tailfit.networks` on deviations from the mean of the window.

    The inverse hyperbolic sine keeps small and large deviations in one range: those within three minutes are often a
    thousandth of the differences between wells, by which readings are normalised.
    """
    inputs = keras.Input(input_shape)
    readings = normalize.layer()(inputs)
    deviations = readings - keras.ops.mean(readings, axis=1, keepdims=True)
    core = getattr(tailfit.networks, network)(input_shape, num_classes, **OPTIONS[network])
    return tailfit.Model(inputs, core(keras.ops.arcsinh(1000 * deviations) / 4))
