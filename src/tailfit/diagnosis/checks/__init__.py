"""The checks, one family of traps per file; each file registers its own."""

from tailfit.diagnosis.checks import (
    callbacks,
    class_weights,
    datasets,
    execution,
    losses,
    metrics,
    reported,
    training_step,
)

__all__ = [
    "callbacks",
    "class_weights",
    "datasets",
    "execution",
    "losses",
    "metrics",
    "reported",
    "training_step",
]
