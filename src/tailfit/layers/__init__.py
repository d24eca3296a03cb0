"""Layers that some losses need: a head whose scores are cosines, for margins; features beside the predictions."""

from tailfit.layers.cosine import CosineDense
from tailfit.layers.features import WithFeatures

__all__ = ["CosineDense", "WithFeatures"]
