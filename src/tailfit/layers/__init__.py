"""Layers for some losses, steps and networks: cosine scores, experts, predictions with features, features of series."""

from tailfit.layers.cosine import CosineDense
from tailfit.layers.experts import Experts
from tailfit.layers.features import WithFeatures
from tailfit.layers.rocket import MiniRocket

__all__ = ["CosineDense", "Experts", "MiniRocket", "WithFeatures"]
