"""Second training stages: correct the classifier of a trained network for rare classes, and keep its features.

Features learned from imbalanced data are good; the bias is in the last layer (Kang et al. 2020). Each function changes
only the last layer of a trained model (`mislas_classifier` also the statistics of batch normalization):

- `retrain_classifier` (cRT) re-initialises the layer and trains it on class-balanced batches.
- `learn_scales` (LWS) learns one factor per class on class-balanced batches.
- `normalize_classifier` (tau-normalisation) divides weights by a power of their norm, without training.
- `smooth_classifier` (LOS) trains the layer with extreme label smoothing, and needs no class counts.
- `balance_classifier` (weight balancing) trains it with a bound on the norms of its weights.
- `mislas_classifier` (MiSLAS) trains it with label-aware smoothing and one factor per class.
- `ridge_classifier` computes it by ridge regression with class weights, in closed form.

Deferred re-weighting and re-sampling need no second stage: they are schedules of the first,
`Batches(class_weight=schedules.Deferred(...))` and `ClassBalanced(power=schedules.Deferred(...))`.
"""

from tailfit.stages.balancing import balance_classifier
from tailfit.stages.classifier import (
    classifier_of,
    inverse_norms,
    learn_scales,
    normalize_classifier,
    retrain_classifier,
)
from tailfit.stages.mislas import mislas_classifier
from tailfit.stages.ridge import ridge_classifier
from tailfit.stages.smoothing import smooth_classifier

__all__ = [
    "balance_classifier",
    "classifier_of",
    "inverse_norms",
    "learn_scales",
    "mislas_classifier",
    "normalize_classifier",
    "retrain_classifier",
    "ridge_classifier",
    "smooth_classifier",
]
