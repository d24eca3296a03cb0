"""Suites: lists of remedies for `compare`, so that nobody has to know their names.

The suite `standard` contains what a practitioner would try, from simple to complex. Each remedy sets all keys that
concern rare classes, whatever the recipe says; the others (network, optimizer, epochs, sample weights) are those of the
recipe. Remedies that do not fit the data or the network are left out, with the reason.
"""

import warnings
from collections.abc import Mapping
from typing import Any, Final

import numpy as np

from tailfit.errors import ArgumentError, TailfitError
from tailfit.recipes.objects import compiled_model, training_batches
from tailfit.recipes.parts import Parts, open_parts
from tailfit.recipes.recipe import Recipe
from tailfit.recipes.remedies import with_remedy
from tailfit.recipes.staging import check_stage
from tailfit.weights import class_weights

__all__ = ["SUITES", "remedies_of_suite"]

SUITES: Final = ("standard",)
_PLAIN: Final[Mapping[str, Any]] = {
    "loss": "CrossEntropy",
    "sampler": "Shuffle",
    "class_weight": None,
    "steps": [],
    "correction": None,
    "stage": None,
}


def remedies_of_suite(suite: str, base: Recipe, *, fetch: bool) -> tuple[dict[str, dict[str, Any]], dict[str, str]]:
    """Return the remedies of a suite that fit the data, and the others with the reason.

    Args:
        suite: Name of the suite.
        base: Recipe that the remedies have in common.
        fetch: Whether a URL may be downloaded.
    Raises:
        ArgumentError: If there is no such suite, or nothing of it fits the data.
    """
    if suite not in SUITES:
        raise ArgumentError(
            f"suite={suite!r}", expected=f"one of {', '.join(SUITES)}", fix=f"use {SUITES[0]}, or leave it out"
        )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # opening the data for the training warns again
        parts = open_parts(base, fetch=fetch)
    kept: dict[str, dict[str, Any]] = {}
    left_out: dict[str, str] = {}
    for name, changes in _standard(base, parts).items():
        reason = _misfit(base, parts, name, changes)
        if reason is None:
            kept[name] = changes
        else:
            left_out[name] = reason
    if len(kept) < 2:
        raise ArgumentError(
            f"suite={suite!r} for data that none of its remedies fits: {'; '.join(dict.fromkeys(left_out.values()))}",
            expected="data with rare classes, and a network that remedies can change",
            fix="name the remedies in compare.vary",
        )
    return kept, left_out


def _standard(base: Recipe, parts: Parts) -> dict[str, dict[str, Any]]:
    """Return the remedies of the suite "standard", simple ones first."""
    weights = class_weights(parts.train, "effective_number")
    after = [weights[code] for code in sorted(weights)]
    deferred = {"name": "Deferred", "before": [1.0] * len(after), "after": after, "at": round(0.8 * base.epochs)}
    remedies: dict[str, dict[str, Any]] = {
        "plain": {},
        "class weights": {"class_weight": "balanced"},
        "effective number": {"class_weight": "effective_number"},
        "focal loss": {"loss": "Focal"},
        "square-root batches": {"sampler": {"name": "ClassBalanced", "power": 0.5}},
        "balanced batches": {"sampler": "ClassBalanced"},
        "post-hoc adjustment": {"correction": {"name": "LogitAdjustment", "tau": 1.0}},
        "logit adjustment": {"loss": "LogitAdjusted"},
        "LDAM, deferred weights": {"loss": "LDAM", "class_weight": deferred},
        "bootstrap": {"sampler": "Bootstrap"},
        "Mixup, logit adjustment": {"loss": "LogitAdjusted", "steps": ["Mixup"]},
        "cRT": {"stage": "RetrainClassifier"},
        "SAM, logit adjustment": {"loss": "LogitAdjusted", "steps": ["SAM"]},
    }
    full = {name: {**_PLAIN, **changes} for name, changes in remedies.items()}
    document = base.document.value
    given = {key: document[key] for key in _PLAIN if key in document and document[key] != _PLAIN[key]}
    if given:
        full["the recipe"] = {}  # last, because its complexity is unknown
    return full


def _misfit(base: Recipe, parts: Parts, name: str, changes: Mapping[str, Any]) -> str | None:
    """Return why a remedy does not fit the data or the network; None if it does."""
    if name == "plain":
        return None
    counts = np.asarray(parts.train.class_counts)
    if name not in ("focal loss", "bootstrap", "the recipe") and counts.min() == counts.max():
        return "all classes have equally many training samples"
    if name.endswith("deferred weights") and base.epochs < 2:
        return "one epoch, so nothing can be deferred"
    try:
        recipe = with_remedy(base, changes)
        model = compiled_model(recipe, parts, training_batches(recipe, parts))
        if recipe.stage is not None:
            check_stage(model, recipe.stage.build())
    except TailfitError as error:
        return error.received
    return None
