"""Augmentation of sensor records: random changes of whole batches, with NumPy, before they reach the network.

Pass one to `Batches(transform=)`, or name it in a recipe as `transform:`; its random numbers depend on (seed, epoch,
step), so training resumes exactly and worker processes change nothing.

>>> import numpy as np, tailfit
>>> source = tailfit.data.Arrays(np.zeros((40, 9, 2), "float32"), [0] * 36 + [1] * 4)
>>> batches = tailfit.Batches(
...     source, 20, tailfit.samplers.ClassBalanced(), transform=tailfit.augment.Jitter(sigma=0.1, only_repeats=True)
... )
>>> batches[0][0].shape
(20, 9, 2)
"""

from tailfit.augment.base import Augmentation, Chain
from tailfit.augment.mixing import MixWithinClass
from tailfit.augment.times import Permutation, TimeWarp, WindowSlice, WindowWarp
from tailfit.augment.values import ChannelDropout, Jitter, MagnitudeWarp, Scaling

__all__ = [
    "Augmentation", "Chain", "ChannelDropout", "Jitter", "MagnitudeWarp", "MixWithinClass", "Permutation", "Scaling",
    "TimeWarp", "WindowSlice", "WindowWarp",
]  # fmt: skip
