"""The remedies for long tails, with their authors' settings."""

from typing import Any

from training import PLAIN, Remedy, deferred_weights

import tailfit
from tailfit import losses, steps


def catalogue() -> dict[str, Remedy]:
    """Return the remedies with their authors' settings; nothing in them was tuned on these data."""
    adjusted = lambda batches, epochs: losses.LogitAdjusted(batches, from_logits=True)  # noqa: E731
    balanced = lambda batches, epochs: losses.BalancedSoftmax(batches, from_logits=True)  # noqa: E731
    mixup = lambda batches: [steps.Mixup(alpha=0.2, seed=batches.seed)]  # noqa: E731
    mixup_strong = lambda batches: [steps.Mixup(alpha=1.0, seed=batches.seed)]  # noqa: E731
    remix = lambda batches: [steps.Remix(class_counts=batches, seed=batches.seed)]  # noqa: E731
    mamix = lambda batches: [steps.MAMix(class_counts=batches, seed=batches.seed)]  # noqa: E731
    # The authors of CMO switch it off for the last 3 of 200 epochs; here, that would be less than one epoch.
    cmo = lambda batches: [steps.CMO(class_counts=batches, seed=batches.seed)]  # noqa: E731
    gcl = lambda batches: [steps.GCL(class_counts=batches, seed=batches.seed)]  # noqa: E731
    square_root = tailfit.samplers.ClassBalanced(power=0.5)
    sam = lambda batches: [steps.SAM(rho=0.05)]  # noqa: E731
    return {
        PLAIN: Remedy(after=("post-hoc logit adjustment", "tau-normalisation", "cRT")),
        "class weights": Remedy(class_weight="balanced"),
        "focal": Remedy(lambda batches, epochs: losses.Focal(gamma=2.0, from_logits=True)),
        "class-balanced loss": Remedy(lambda batches, epochs: losses.ClassBalanced(batches, from_logits=True)),
        "LDAM-DRW": Remedy(ldam_drw, cosine=True),
        "balanced softmax": Remedy(balanced),
        "DiVE": Remedy(balanced, after=("DiVE",)),
        "logit-adjusted loss": Remedy(adjusted),
        "bootstrap batches": Remedy(sampler=tailfit.samplers.Bootstrap()),
        "CDT": Remedy(lambda batches, epochs: losses.VectorScaling(batches, gamma=0.3, tau=0, from_logits=True)),
        "GCL": Remedy(clouded, steps=gcl, cosine=True, after=("cRT",)),
        "LADE": Remedy(adjusted, steps=lambda batches: [steps.LADE(class_counts=batches)]),
        "SWA": Remedy(averaged=True),
        "CMO": Remedy(steps=cmo),
        "Mixup": Remedy(steps=mixup),
        "Mixup-DRW": Remedy(steps=mixup_strong, deferred=True),
        "Remix-DRW": Remedy(steps=remix, deferred=True),
        "MAMix-DRW": Remedy(steps=mamix, deferred=True),
        "MiSLAS": Remedy(steps=mixup_strong, after=("MiSLAS",)),
        "Remix": Remedy(steps=remix),
        "SAM": Remedy(steps=sam),
        "logit-adjusted + Mixup": Remedy(adjusted, steps=mixup),
        "logit-adjusted + SAM": Remedy(adjusted, steps=sam),
        "logit-adjusted + BCL": Remedy(adjusted, steps=lambda batches: [steps.BCL(seed=batches.seed)]),
        "logit-adjusted + CC-SAM": Remedy(adjusted, steps=lambda batches: [steps.CCSAM(class_counts=batches)]),
        "RIDE": Remedy(steps=lambda batches: [steps.RIDE(class_counts=batches)], experts=True),
        "SADE": Remedy(steps=lambda batches: [steps.SADE(class_counts=batches)], experts=True),
        "GroupDRO over classes": Remedy(steps=lambda batches: [steps.GroupDRO()], grouped=True),
        "square-root batches + logit-adjusted": Remedy(adjusted, sampler=square_root),
        "square-root batches + logit-adjusted + SAM": Remedy(adjusted, steps=sam, sampler=square_root),
        "square-root batches + logit-adjusted + Mixup(1)": Remedy(adjusted, steps=mixup_strong, sampler=square_root),
        "square-root batches + logit-adjusted + Mixup(1) + SAM": Remedy(
            adjusted, steps=lambda batches: [*sam(batches), *mixup_strong(batches)], sampler=square_root
        ),
    }


def ldam_drw(batches: tailfit.Batches, epochs: int) -> Any:
    return losses.LDAM(batches, class_weights=deferred_weights(batches, epochs), from_logits=True)


def clouded(batches: tailfit.Batches, epochs: int) -> Any:
    """The loss of GCL: cosines times 30, without margins."""
    return losses.LDAM(batches, max_margin=0.0, scale=30.0, from_logits=True)
