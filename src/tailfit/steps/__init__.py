"""Changes of the training step for `tailfit.Model.compile(..., steps=[...])`, and the base class to write your own.

Steps compose, the first of the list outermost: `steps=[GradientCentralization(), SAM(rho=0.05), Mixup(alpha=0.2)]`
centralises the gradients that SAM computes on mixed samples. Unless its docstring says otherwise, a step works with
every loss and reduction, with class indices or one-hot labels, and with sample weights. Steps are saved with the model.
`Step` shows how to write one.
"""

from tailfit.steps.accumulation import Accumulate
from tailfit.steps.centralisation import GradientCentralization
from tailfit.steps.class_sharpness import CCSAM
from tailfit.steps.clouds import GCL
from tailfit.steps.contrast import BCL
from tailfit.steps.disentangling import LADE
from tailfit.steps.distillation import DiVE
from tailfit.steps.early_learning import ELR
from tailfit.steps.experts import RIDE, SADE
from tailfit.steps.group_dro import GroupDRO
from tailfit.steps.mixing import CMO, CutMix, MAMix, Mixup, Remix
from tailfit.steps.rdrop import RDrop
from tailfit.steps.sharpness import SAM, ImbSAM
from tailfit.steps.small_loss import SmallLoss
from tailfit.training.step import Batch, Step, Target, unreported

__all__ = [
    "BCL",
    "CCSAM",
    "CMO",
    "ELR",
    "GCL",
    "LADE",
    "RIDE",
    "SADE",
    "SAM",
    "Accumulate",
    "Batch",
    "CutMix",
    "DiVE",
    "GradientCentralization",
    "GroupDRO",
    "ImbSAM",
    "MAMix",
    "Mixup",
    "RDrop",
    "Remix",
    "SmallLoss",
    "Step",
    "Target",
    "unreported",
]
