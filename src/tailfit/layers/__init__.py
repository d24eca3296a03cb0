"""Layers required by some losses: a head with cosine scores (for margins), and predictions with attached features."""

from tailfit.layers.cosine import CosineDense
from tailfit.layers.features import WithFeatures

__all__ = ["CosineDense", "WithFeatures"]
