"""Losses whose gradients are in closed form on TensorFlow and torch: by labels, too, and differentiable again."""

import numpy as np
import pytest
from keras import ops
from support.autograd import double_precision, gradient, slopes

from tailfit import losses

COUNTS = [5.0, 4.0, 3.0, 2.0]
MULTI_LABEL = {
    "focal": (losses.BinaryFocal, {}),
    "fractional gamma": (losses.BinaryFocal, {"gamma": 0.5, "alpha": None}),
    "large gamma": (losses.BinaryFocal, {"gamma": 6.0}),
    "equalization": (losses.Equalization, {"class_counts": COUNTS, "threshold": 0.2}),
    "distribution-balanced": (losses.DistributionBalanced, {"class_counts": COUNTS, "num_samples": 20}),
    "asymmetric": (losses.Asymmetric, {}),
    "asymmetric without a shift": (losses.Asymmetric, {"clip": 0.0, "gamma_neg": 2.5}),
}
LOGITS, DIRECTION = np.random.default_rng(0).normal(size=(2, 6, 4)) * 2
TARGETS = 0.9 * np.random.default_rng(1).integers(0, 2, (6, 4)) + 0.03
STEP = 1e-6


def check(loss, y, z, of_labels=True):
    """Compare the derivative by labels, and that of the gradient by logits, with finite differences."""

    def along(scores):
        (slope,) = slopes(lambda inner: loss(y, inner), [scores])
        return ops.sum(slope * ops.convert_to_tensor(DIRECTION))

    with double_precision():
        again = gradient(along, z, "float64")
        ahead, behind = (
            gradient(lambda q: loss(y, q), z + move, "float64") for move in (STEP * DIRECTION, -STEP * DIRECTION)
        )
        np.testing.assert_allclose(again, (ahead - behind) / (2 * STEP), rtol=1e-6, atol=1e-8)
        if of_labels:
            scores = ops.convert_to_tensor(z)
            by_labels = gradient(lambda labels: loss(labels, scores), y, "float64")
            ahead, behind = (float(loss(y + move, scores)) for move in (STEP * DIRECTION, -STEP * DIRECTION))
            np.testing.assert_allclose((by_labels * DIRECTION).sum(), (ahead - behind) / (2 * STEP), rtol=1e-6)


@pytest.mark.parametrize("name", MULTI_LABEL)
def test_slopes_of_sigmoid_losses(name):
    kind, options = MULTI_LABEL[name]
    with double_precision():
        check(kind(**options, from_logits=True, dtype="float64"), TARGETS, LOGITS)


def test_slope_of_bootstrapping():
    with double_precision():
        check(losses.Bootstrapping(from_logits=True, dtype="float64"), np.arange(6) % 4, LOGITS, of_labels=False)


def test_slope_of_logit_norm():
    with double_precision():
        loss = losses.LogitNorm(temperature=0.3, from_logits=True, dtype="float64")
        check(loss, np.arange(6) % 4, LOGITS, of_labels=False)


def test_slope_of_logit_norm_with_a_disabled_class_and_without_any_logit():
    """Rows of labels, whose gradient autograd computes, have the same gradient as class indices."""
    loss, y, logits = losses.LogitNorm(from_logits=True), np.arange(6) % 4, LOGITS.copy()
    logits[1, 3], logits[2] = -np.inf, 0.0
    by_index = gradient(lambda z: loss(y, z), logits)
    assert np.isfinite(by_index).all()
    np.testing.assert_allclose(by_index, gradient(lambda z: loss(np.eye(4)[y], z), logits), rtol=1e-5, atol=1e-6)


@pytest.mark.only_on("torch")
def test_a_graph_that_is_kept_gives_the_same_gradient_again():
    """Slopes are computed in the memory of their own results only."""
    import torch

    for loss, y in (
        (losses.BinaryFocal(from_logits=True), TARGETS),
        (losses.Asymmetric(from_logits=True), TARGETS),
        (losses.Bootstrapping(from_logits=True), np.arange(6) % 4),
    ):
        scores = torch.tensor(LOGITS, dtype=torch.float32, requires_grad=True)
        value = loss(y, scores)
        first, second = (torch.autograd.grad(value, scores, retain_graph=True)[0] for _ in range(2))
        assert torch.equal(first, second)
        assert torch.equal(scores, torch.tensor(LOGITS, dtype=torch.float32))
