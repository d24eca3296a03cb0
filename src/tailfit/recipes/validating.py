"""Measurement of a training on its validation part, on which `compare` chooses a remedy.

A correction that is fitted on the validation part would look too good there, so it is measured by cross-fitting: the
scores of each fold are corrected as fitted on the other folds.
"""

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from tailfit.data import folds
from tailfit.errors import TailfitError
from tailfit.evaluation import Evaluation, evaluate
from tailfit.posthoc import TauNorm
from tailfit.posthoc.base import Correction
from tailfit.recipes.parts import Parts, group_of_each
from tailfit.training import Model

__all__ = ["validation_evaluation"]

_FOLDS: Final = 5


def validation_evaluation(
    parts: Parts, model: Model, scores: NDArray[Any], correction: Correction | None, name: str
) -> Evaluation:
    """Evaluate a trained network on the validation part.

    Args:
        parts: Parts of the data.
        model: The trained network.
        scores: Its logits on the validation part, `(samples, C)`.
        correction: The correction, fitted on the validation part; or None.
        name: Heading of the evaluation.
    """
    source = parts.validation
    if source is None:
        raise ValueError("no validation part")
    return evaluate(
        source.labels,
        scores if correction is None else _cross_fitted(parts, model, scores, correction),
        parts.train.class_names,
        tuple(parts.train.class_counts.tolist()),
        groups=group_of_each(source),
        ids=source.ids,
        name=name,
    )


def _cross_fitted(parts: Parts, model: Model, scores: NDArray[Any], correction: Correction) -> NDArray[np.float64]:
    """Return corrected scores, those of each fold as fitted on the others."""
    logits, source = np.asarray(scores, dtype=np.float64), parts.validation
    if getattr(correction, "tau", None) is not None or source is None:  # nothing is fitted
        return _applied(correction, logits)
    corrected, labels = logits.copy(), np.asarray(source.labels)
    count = min(_FOLDS, len(source) if source.groups is None else len(np.unique(source.groups)))
    for _, held_out in folds(source, count) if count > 1 else []:
        rest = np.setdiff1d(np.arange(len(source)), held_out.indices)
        try:
            if isinstance(correction, TauNorm):
                correction.fit(model, logits[rest], labels[rest])
            else:
                correction.fit(logits[rest], labels[rest])
        except TailfitError:  # a class without samples among the others, for example: this fold stays as it is
            continue
        corrected[held_out.indices] = _applied(correction, logits[held_out.indices])
    return corrected


def _applied(correction: Correction, logits: NDArray[np.float64]) -> NDArray[np.float64]:
    scale, offset = correction.coefficients()
    return logits * scale + offset
