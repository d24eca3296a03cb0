"""Trap 18: focal and generalised cross-entropy lose their gradient, and losses forget their dtype when saved."""

from collections.abc import Iterator
from typing import Any

import keras
import numpy as np

from tailfit.diagnosis.registry import Problem, check
from tailfit.diagnosis.setup import Setup
from tailfit.diagnosis.source_code import is_user_defined

__all__: list[str] = []

_FOCAL = (keras.losses.CategoricalFocalCrossentropy, keras.losses.BinaryFocalCrossentropy)
_CURED = "tailfit.losses.{} is computed in log space, with a gradient at every distance"


@check(18, "focal loss without a gradient for badly misclassified samples", calls=("fit",))
def flat_focal(setup: Setup) -> Iterator[Problem]:
    """Keras clips probabilities at 1e-7: beyond a logit gap of about 16, the loss is constant."""
    for loss in setup.losses_where(lambda each: isinstance(each, _FOCAL) and not is_user_defined(type(each))):
        binary = isinstance(loss, keras.losses.BinaryFocalCrossentropy)
        near, far = (_focal_at(loss, gap, binary) for gap in (40.0, 60.0))
        if near != far:
            continue
        ours = "BinaryFocal" if binary else "Focal"
        yield Problem(
            f"{type(loss).__name__} clips probabilities at 1e-7. A sample that is wrong by a logit gap of 16 or more "
            f"has "
            "a gradient of exactly 0, and is never learnt: the opposite of what focal loss is for.",
            "write the loss from logits: log_p = keras.ops.log_softmax(logits) (log_sigmoid for binary labels), "
            "loss = -(1 - exp(log_p)) ** gamma * log_p",
            _CURED.format(ours),
            f"your loss object is {near:.4g} at a gap of 40 and {far:.4g} at 60: no gradient"
            + _reached(setup, loss, binary),
            setup.compiled,
        )


def _focal_at(loss: Any, gap: float, binary: bool) -> float:
    """Return the loss of one sample whose true class is behind by `gap` in logits."""
    scores = np.array([[-gap]] if binary else [[gap, 0.0]], dtype="float32")
    if not loss.get_config().get("from_logits"):
        scores = 1 / (1 + np.exp(-scores)) if binary else np.exp(scores - gap) / np.exp(scores - gap).sum()
    label = np.array([[1.0]] if binary else [[0.0, 1.0]], dtype="float32")
    return float(np.mean(keras.ops.convert_to_numpy(loss(label, scores))))


def _reached(setup: Setup, loss: Any, binary: bool) -> str:
    """Count the samples of the first batch that are already out of reach."""
    batch = setup.batch
    logits = None if batch is None or not loss.get_config().get("from_logits") else setup.predict(batch.x)
    if batch is None or logits is None or batch.labels is None or batch.labels.shape != logits.shape:
        return ""
    if binary:
        gaps = np.where(batch.labels > 0.5, -logits, logits).max(axis=-1)
    else:
        gaps = logits.max(axis=-1) - (logits * batch.labels).sum(axis=-1)
    return f"; {int((gaps > 16).sum())} of {gaps.size} samples of the first batch are beyond 16 now"


@check(18, "generalised cross-entropy with an infinite gradient at probability 0", calls=("fit",))
def generalized_cross_entropy(setup: Setup) -> Iterator[Problem]:
    """The derivative of p ** q is q * p ** (q - 1)."""
    kind = getattr(keras.losses, "CategoricalGeneralizedCrossEntropy", None)
    for loss in setup.losses_where(lambda each: kind is not None and type(each) is kind):
        q = float(loss.get_config().get("q", 0.5))
        yield Problem(
            "Its gradient is q p^(q-1), which is infinite at p = 0. A softmax in float32 returns exactly 0 at a logit "
            "gap above 104 (in float16 above 17); one such sample turns all weights to NaN.",
            "clip the probabilities first: keras.ops.clip(y_pred, 1e-7, 1.0) in a loss of your own",
            _CURED.format("GeneralizedCrossEntropy"),
            f"with your q={q:g} the gradient is {q * 1e-7 ** (q - 1):.3g} at p=1e-7, and {q * 1e-30 ** (q - 1):.3g} "
            f"at 1e-30",
            setup.compiled,
        )


@check(18, "the dtype of a loss is lost when the model is saved", calls=("fit",))
def dtype_lost(setup: Setup) -> Iterator[Problem]:
    """`get_config` of Keras' losses leaves the dtype out."""
    for loss in setup.losses_where(
        lambda each: isinstance(each, keras.losses.Loss) and not is_user_defined(type(each))
    ):
        if str(loss.dtype) != keras.config.floatx() and "dtype" not in loss.get_config():
            yield Problem(
                f"{type(loss).__name__}.get_config() has no dtype: a saved and loaded model computes this loss in "
                f"{keras.config.floatx()}.",
                "after loading, compile the model again with the loss and its dtype",
                "losses of tailfit save their dtype",
                f"dtype={loss.dtype} now, {type(loss).from_config(loss.get_config()).dtype} after loading",
                setup.compiled,
            )
