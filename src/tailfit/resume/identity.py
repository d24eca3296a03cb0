"""The identity of a run: its model, data, sampler and so on, which must not change when the run continues."""

import hashlib
import json
from collections.abc import Mapping
from typing import Any, Final

from tailfit.training.identity import identity_of

__all__ = ["MEANING", "differences", "identity_of"]

# Keys of the identity, which `Resume(allow=...)` accepts, and the consequence of a difference.
MEANING: Final[dict[str, str]] = {
    "backend": "weights, optimizer and metrics are kept; random numbers (dropout, augmentation) and rounding differ",
    "batch_size": "the epoch continues at the same sample, rounded down to a batch; losses are of different batches",
    "callbacks": "callbacks that the saved run had continue; others start from the beginning",
    "class_weight": "the new weights apply",
    "compile": "the new loss, metrics and steps apply; the saved optimizer state must fit",
    "data": "the samples differ: some of this epoch may be used twice, or not at all",
    "drop_remainder": "the length of the epoch differs",
    "model": "layers may differ as long as every variable keeps its shape",
    "one_hot": "labels have a different form",
    "sampler": "the order differs: some samples of this epoch may be used twice, or not at all",
    "seed": "the order differs: some samples of this epoch may be used twice, or not at all",
    "shard": "a different part of each batch is read",
    "steps_per_execution": "results stay the same",
    "transform": "batches are transformed differently",
    "validation": "monitored metrics before and after can't be compared",
}


def differences(saved: Mapping[str, Any], now: Mapping[str, Any]) -> dict[str, str]:
    """Describe the differences between two identities, by key."""
    return {
        key: f"{_brief(saved.get(key))} when saved, {_brief(now.get(key))} now"
        for key in MEANING
        if saved.get(key) != now.get(key)
    }


def _brief(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value)
    return text if len(text) <= 160 else f"{text[:120]}... ({hashlib.sha256(text.encode()).hexdigest()[:8]})"
