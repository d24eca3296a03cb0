"""Samplers: small frozen configurations that decide which samples an epoch draws, and in which order."""

from tailfit.samplers.balanced import ClassBalanced, Progressive
from tailfit.samplers.base import Plan, Sampler
from tailfit.samplers.bootstrap import Bootstrap
from tailfit.samplers.by_length import ByLength
from tailfit.samplers.per_class import PerClass
from tailfit.samplers.repeat_factor import RepeatFactor
from tailfit.samplers.stratified import Stratified
from tailfit.samplers.uniform import Sequential, Shuffle
from tailfit.samplers.weighted import Weighted

__all__ = [
    "Bootstrap",
    "ByLength",
    "ClassBalanced",
    "PerClass",
    "Plan",
    "Progressive",
    "RepeatFactor",
    "Sampler",
    "Sequential",
    "Shuffle",
    "Stratified",
    "Weighted",
]
