"""Weights of classes and samples, computed from labels of any form, from sources and from their metadata."""

from tailfit.weights.classes import class_weights
from tailfit.weights.quality import label_quality
from tailfit.weights.samples import sample_weights

__all__ = ["class_weights", "label_quality", "sample_weights"]
