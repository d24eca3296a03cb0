"""Weights of models with several outputs: a dict of results, equal to those of each output alone."""

import numpy as np
import pytest
from support.labelled import source

from tailfit.errors import ArgumentError, DataError
from tailfit.weights import class_weights, label_quality, sample_weights

CAUSE = np.array(["leak", "ok", "ok", "ok"])
SITE = np.array([0, 1, 1, 2])


def test_class_weights_of_each_output():
    found = class_weights({"cause": CAUSE, "site": source(SITE)}, "inverse")
    assert found == {"cause": class_weights(CAUSE, "inverse"), "site": class_weights(SITE, "inverse")}
    named = class_weights({"cause": CAUSE, "site": SITE}, num_classes={"cause": None, "site": 4})
    assert list(named["site"]) == [0, 1, 2, 3]
    with pytest.raises(ArgumentError, match="num_classes of type int together with labels for the outputs"):
        class_weights({"cause": CAUSE, "site": SITE}, num_classes=4)


def test_sample_weights_of_each_output():
    found = sample_weights(
        {"cause": CAUSE, "site": SITE},
        {"cause": {"leak": 2.0}, "site": {"B": 3.0}},
        class_names={"cause": ["leak", "ok"], "site": ["A", "B", "C"]},
    )
    assert {name: weights.tolist() for name, weights in found.items()} == {"cause": [2, 1, 1, 1], "site": [1, 3, 3, 1]}
    with pytest.raises(
        ArgumentError, match=r"weights for \['cause'\] together with labels for the outputs \['cause', 'site'\]"
    ):
        sample_weights({"cause": CAUSE, "site": SITE}, {"cause": {"leak": 2.0}})
    with pytest.raises(DataError, match="no labels"):
        class_weights({"cause": CAUSE, "site": []})


def test_class_condition_and_quality_multiply():
    rows = np.array([[0.5, 0.5], [0.25, 0.75], [0, 1], [0, 1]])
    by_class = sample_weights(CAUSE, {"leak": 4.0})
    assert (by_class * label_quality(CAUSE, rows)).tolist() == [2, 0.75, 1, 1]
