"""Ready-made networks: functions of one record's shape and the number of classes.

Each returns a `tailfit.Model` whose output is logits `(batch, num_classes)`. A recipe names one of them as `network:`;
`tailfit.sklearn.Classifier` takes any of them as `model_fn`.
"""

from tailfit.networks.built_in import cnn, mlp, rnn
from tailfit.networks.fitted import dense_network
from tailfit.networks.images import image_resnet
from tailfit.networks.named import NETWORKS
from tailfit.networks.rocket import adapt_to, minirocket
from tailfit.networks.series import fcn, inception_time, lite, resnet

__all__ = [
    "NETWORKS", "adapt_to", "cnn", "dense_network", "fcn", "image_resnet", "inception_time", "lite", "minirocket",
    "mlp", "resnet", "rnn",
]  # fmt: skip
