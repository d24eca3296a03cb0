"""tailfit for users of scikit-learn: a classifier that clones, pickles, searches grids and goes into pipelines."""

from tailfit.networks.fitted import dense_network
from tailfit.sklearn.classifier import Classifier

__all__ = ["Classifier", "dense_network"]
