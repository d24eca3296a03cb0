"""The problem that corrections are fitted on, and example configurations of each."""

import inspect

import keras
import numpy as np
import pytest
from scipy.special import softmax

import tailfit
from tailfit import posthoc
from tailfit.posthoc.base import Correction

C = 4
COUNTS = [600, 250, 100, 50]
rng = np.random.default_rng(5)
CODES = np.repeat(np.arange(C), COUNTS)
LOGITS = (1.5 * rng.standard_normal((1000, C)) + 2 * np.eye(C)[CODES] + np.log(COUNTS)).astype("float32")
PROBABILITIES = softmax(LOGITS, axis=1)
WEIGHTS = rng.integers(0, 4, 1000)
COSTS = [[0, 1, 1, 1], [2, 0, 2, 2], [5, 5, 0, 5], [9, 8, 7, 0]]
EXAMPLES = {
    "LogitAdjustment": [{"prior": COUNTS}, {"prior": COUNTS, "tau": None}],
    "TauNorm": [{"tau": None}],
    "TemperatureScaling": [{}],
    "Thresholds": [{"criterion": "gmean"}, {"criterion": COSTS}],
    "VectorScaling": [{}, {"penalty": 0.5}],
}
CLASSES = {
    name: value
    for name in posthoc.__all__
    if inspect.isclass(value := getattr(posthoc, name)) and issubclass(value, Correction)
}


def head():
    """Build a model whose last layer has weight norms 3, 2, 1 and 0.5."""
    inputs = keras.Input((C,))
    model = tailfit.Model(inputs, keras.layers.Dense(C)(inputs))
    model.layers[-1].set_weights([np.diag([3, 2, 1, 0.5]), np.array([1.0, 0, 0, -1])])
    return model


def fit(correction, scores, y, weights=None):
    model = [head()] if isinstance(correction, posthoc.TauNorm) else []
    return correction.fit(*model, scores, y, weights)


def fitted(name, config, *, from_logits=True, weights=None):
    if name == "TauNorm" and not from_logits:
        pytest.skip("only of logits")
    return fit(
        CLASSES[name](**config, from_logits=from_logits), LOGITS if from_logits else PROBABILITIES, CODES, weights
    )
