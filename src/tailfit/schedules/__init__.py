"""Hyper-parameters that change over the epochs: small frozen functions of the epoch.

Pass a schedule in place of a number: `LogitAdjusted(tau=Deferred(0.0, 1.0, at=80))`, `ClassBalanced(power=...)`,
`Batches(class_weight=...)`. `tailfit.Model.fit` updates the value at the beginning of each epoch; in a custom training
loop, call `set_epoch(epoch, loss)`. Updates never cause a function to be traced or compiled again.
"""

from tailfit.schedules.base import Schedule
from tailfit.schedules.custom import Custom, from_function
from tailfit.schedules.moves import set_epoch
from tailfit.schedules.piecewise import Constant, Deferred, Piecewise
from tailfit.schedules.ramps import Cosine, Linear

__all__ = [
    "Constant",
    "Cosine",
    "Custom",
    "Deferred",
    "Linear",
    "Piecewise",
    "Schedule",
    "from_function",
    "set_epoch",
]
