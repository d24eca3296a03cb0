"""Examples of all losses for their common tests, the data, and exceptions for single losses."""

import inspect
from typing import Any

import keras
import numpy as np
from support.autograd import numpy

from tailfit import layers, losses

C = 4
COUNTS = [1000.0, 100.0, 30.0, 5.0]
# Configurations of the losses that have modes, or for which the default is not a useful example.
CONFIGURED: dict[str, list[dict[str, Any]]] = {
    "ActivePassive": [{"a": 1.0, "b": 0.5}, {"active": "ce", "passive": "rce"}],
    "Asymmetric": [{}, {"clip": 0.0, "gamma_neg": 0.5}],
    "BinaryFocal": [{}, {"gamma": 0.5, "alpha": None}],
    "Bootstrapping": [{}, {"hard": True}],
    "ClassBalanced": [{"class_counts": COUNTS}, {"class_counts": COUNTS, "base": "focal"}],
    "CrossEntropy": [{}, {"label_smoothing": 0.1, "class_weights": [0.5, 1.0, 2.0, 4.0]}],
    "DistributionBalanced": [{"class_counts": COUNTS, "num_samples": 2000}],
    "Equalization": [{"class_counts": COUNTS, "threshold": 0.05}],
    "Focal": [{}, {"gamma": 0.5, "alpha": [0.25, 1.0, 2.0, 3.0]}],
    "InfluenceBalanced": [{"alpha": 10.0}],
    "MeanFalseError": [{}, {"squared": True, "base": "squared_error"}],
    "Seesaw": [{"class_counts": COUNTS}, {"class_counts": COUNTS, "q": 0.0}],
}
CLASSES = {
    name: value
    for name in losses.__all__
    if inspect.isclass(value := getattr(losses, name)) and issubclass(value, keras.losses.Loss)
}


def default_example(name: str) -> dict[str, Any]:
    """Return the arguments that a loss requires: none, or the class counts."""
    parameters = inspect.signature(CLASSES[name]).parameters.values()
    # `from_logits` has a default only for Python: the losses require it themselves.
    required = [each.name for each in parameters if each.default is each.empty]
    if required not in ([], ["class_counts"]):
        raise LookupError(f"{name} requires {required}: add an example to CONFIGURED in tests/support/losses.py")
    return dict.fromkeys(required, COUNTS)


EXAMPLES = {name: CONFIGURED.get(name) or [default_example(name)] for name in CLASSES}
CASES = [(name, index) for name in CLASSES for index in range(len(EXAMPLES[name]))]

# The smallest -dl/dz of the true class for a sample with a wrong gap of 200; 0: the gradient vanishes by design.
PULL = {
    "ActivePassive": 1e-4,
    "BinaryFocal": 0.2,
    "ClassBalanced": 0.02,
    "GeneralizedCrossEntropy": 0.0,
    "LogitNorm": -1e-6,  # exactly opposite to the label, no direction reduces the angle
    "MeanAbsolute": 0.0,
    "MeanFalseError": 0.0,
    "NormalizedCrossEntropy": 1e-4,
    "SymmetricCrossEntropy": 0.09,
}
NOT_LINEAR_IN_LABELS = {
    ("ClassBalanced", 1),
    ("DistributionBalanced", 0),
    ("InfluenceBalanced", 0),
    ("LDAM", 0),
    ("MeanFalseError", 0),
    ("MeanFalseError", 1),
    ("Seesaw", 0),
    ("Seesaw", 1),
}
# Not invariant to adding a constant to all logits, so logits and probabilities differ.
SEES_LOGITS = {"LogitNorm", "VectorScaling"}
# The gradient treats parts of the value as constants.
STOPS_GRADIENT = {("Seesaw", 0)}
# The value of a sample depends on the rest of its batch.
BATCHWISE = {"MeanFalseError"}

rng = np.random.default_rng(7)
LOGITS = (2 * rng.standard_normal((9, C))).astype("float32")
CODES = rng.integers(0, C, 9)
ONE_HOT = np.eye(C, dtype="float32")[CODES]
SOFT = rng.dirichlet(np.ones(C), 9).astype("float32")
WEIGHTS = rng.uniform(0.1, 3.0, 9).astype("float32")
LABELS = (rng.random((9, C)) < 0.4).astype("float32")
LABELS[4] = 0
FEATURES = rng.integers(0, 3, (9, 2)).astype("float32") + 1


def make(name: str, index: int = 0, /, *, from_logits: bool = True, **kwargs: Any) -> keras.losses.Loss:
    return CLASSES[name](**{**EXAMPLES[name][index], **kwargs}, from_logits=from_logits)


def dressed(name: str, z: Any) -> Any:
    """Return predictions in the form that the loss requires."""
    z = keras.ops.convert_to_tensor(z)
    if name != "InfluenceBalanced":
        return z
    return layers.WithFeatures()(z, keras.ops.convert_to_tensor(np.resize(FEATURES, (*z.shape[:-1], 2))))


def per_sample(name: str, index: int, y: Any, z: Any, /, **kwargs: Any) -> np.ndarray:
    return numpy(make(name, index, reduction=None, **kwargs)(y, dressed(name, z)))


def over_labels(name: str, index: int) -> bool:
    """Return whether the probabilities of the loss are C sigmoids."""
    return bool(make(name, index).activation == "sigmoid")


def probabilities(name: str, index: int, z: np.ndarray) -> np.ndarray:
    if over_labels(name, index):
        return 1 / (1 + np.exp(-z))
    e = np.exp(z - z.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def network(name: str) -> keras.Model:
    """Build a tiny model that returns logits."""
    inputs = keras.Input((3,))
    outputs = keras.layers.Dense(C)(inputs)
    return keras.Model(inputs, layers.WithFeatures()(outputs, inputs) if name == "InfluenceBalanced" else outputs)
