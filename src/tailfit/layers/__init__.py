"""Layers that some losses and networks need: cosine scores, predictions with features, features of series."""

from tailfit.layers.cosine import CosineDense
from tailfit.layers.features import WithFeatures
from tailfit.layers.rocket import MiniRocket

__all__ = ["CosineDense", "MiniRocket", "WithFeatures"]
