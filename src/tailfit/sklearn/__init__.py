"""A scikit-learn classifier, for pipelines, grid searches and cross-validation."""

from tailfit.networks.fitted import dense_network
from tailfit.sklearn.classifier import Classifier

__all__ = ["Classifier", "dense_network"]
