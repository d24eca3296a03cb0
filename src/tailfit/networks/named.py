"""The networks that a recipe can name."""

from collections.abc import Callable, Mapping
from typing import Final

from tailfit.networks.built_in import cnn, mlp, rnn
from tailfit.networks.images import image_resnet
from tailfit.networks.rocket import minirocket
from tailfit.networks.series import fcn, inception_time, lite, resnet
from tailfit.training import Model

__all__ = ["NETWORKS"]

NETWORKS: Final[Mapping[str, Callable[..., Model]]] = {
    each.__name__: each for each in (cnn, fcn, image_resnet, inception_time, lite, minirocket, mlp, resnet, rnn)
}
