"""Layers that some losses need: a head whose scores are cosines, for margins."""

from tailfit.layers.cosine import CosineDense

__all__ = ["CosineDense"]
