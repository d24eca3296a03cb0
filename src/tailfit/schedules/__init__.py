"""Hyper-parameters that change over the epochs: small frozen functions of the epoch.

A schedule stands where a number stands: `LogitAdjusted(tau=Deferred(0.0, 1.0, at=80))`, `ClassBalanced(power=...)`,
`Batches(class_weight=...)`. `tailfit.Model.fit` moves it at the begin of each epoch; in a loop of your own,
`set_epoch(epoch, loss)` does. Nothing is traced or compiled again.
"""

from tailfit.schedules.base import Schedule
from tailfit.schedules.custom import Custom, from_function
from tailfit.schedules.moves import set_epoch
from tailfit.schedules.ramps import Cosine, Linear
from tailfit.schedules.steps import Constant, Deferred, Step

__all__ = [
    "Constant",
    "Cosine",
    "Custom",
    "Deferred",
    "Linear",
    "Schedule",
    "Step",
    "from_function",
    "set_epoch",
]
