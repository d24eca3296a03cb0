"""Which samples an epoch draws and in which order: small frozen samplers, and the pure plans they make."""

from tailfit.samplers.balanced import ClassBalanced, Progressive
from tailfit.samplers.base import Plan, Sampler
from tailfit.samplers.bootstrap import Bootstrap
from tailfit.samplers.uniform import Sequential, Shuffle

__all__ = ["Bootstrap", "ClassBalanced", "Plan", "Progressive", "Sampler", "Sequential", "Shuffle"]
