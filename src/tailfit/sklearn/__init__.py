"""tailfit for users of scikit-learn: a classifier that clones, pickles, searches grids and goes into pipelines."""

from tailfit.sklearn.classifier import Classifier
from tailfit.sklearn.network import dense_network

__all__ = ["Classifier", "dense_network"]
