"""Changes of the default training step, one family a file; offered as `tailfit.steps`."""

from tailfit.training.steps.accumulation import Accumulate
from tailfit.training.steps.base import Batch, Step, Target, unreported
from tailfit.training.steps.centralisation import GradientCentralization
from tailfit.training.steps.mixing import CutMix, Mixup, Remix
from tailfit.training.steps.rdrop import RDrop
from tailfit.training.steps.sharpness import SAM, ImbSAM
from tailfit.training.steps.small_loss import SmallLoss

__all__ = [
    "SAM",
    "Accumulate",
    "Batch",
    "CutMix",
    "GradientCentralization",
    "ImbSAM",
    "Mixup",
    "RDrop",
    "Remix",
    "SmallLoss",
    "Step",
    "Target",
    "unreported",
]
