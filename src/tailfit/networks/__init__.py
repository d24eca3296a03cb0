"""Ready-made networks: functions of one record's shape and the number of classes.

Each returns a `tailfit.Model` whose output is logits `(batch, num_classes)`. A recipe names one of them as `network:`;
`tailfit.sklearn.Classifier` takes any of them as `model_fn`.
"""

from tailfit.networks.built_in import NETWORKS, cnn, mlp, rnn
from tailfit.networks.fitted import dense_network

__all__ = ["NETWORKS", "cnn", "dense_network", "mlp", "rnn"]
