"""Corrections of a trained network: of its scores, and of its last layer in second stages.

The features before the last layer do not change, so they are computed once, and every second stage trains a network of
one layer on them. A second stage has half as many epochs as the first. The papers use a tenth, of many more samples;
here, that would be a hundred steps, after which label over-smoothing has hardly begun to learn.
"""

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
from store import Figures, confusion_figures
from training import Budget, Remedy, decayed

import tailfit
from tailfit import stages

Scored = dict[str, tuple[np.ndarray, np.ndarray]]


def rows_of_heads(
    name: str, model: tailfit.Model, batches: tailfit.Batches, remedy: Remedy, budget: Budget, scored: Scored
) -> dict[str, Figures]:
    """Figures of the network as trained (row `name`), and of each correction; sets are named by a prefix.

    `remedy.after` has "scores" for corrections that need no training, and "stages" for second stages.
    """
    before = keras.Model(model.input, model.layers[-1].input)
    features = lambda x: before.predict(x, batch_size=250, verbose=0)  # noqa: E731
    classes = len(batches.class_names)
    source = batches.source
    seen = tailfit.data.Arrays(
        features(source.read(np.arange(len(source)))), source.labels, class_names=list(batches.class_names)
    )
    sets = {prefix: (features(x), y) for prefix, (x, y) in scored.items()}
    inputs = keras.Input(before.output_shape[1:])
    last = tailfit.Model(inputs, keras.layers.Dense(classes)(inputs))
    trained = [np.array(value) for value in model.layers[-1].get_weights()]

    def figures(decide: Callable[[np.ndarray], np.ndarray] = lambda logits: logits.argmax(axis=1)) -> Figures:
        kernel, bias = last.get_weights()
        found: Figures = {}
        for prefix, (x, y) in sets.items():
            called = decide(x @ kernel + bias)
            found |= {prefix + key: value for key, value in confusion_figures(y, called, classes).items()}
        return found

    stages_of: dict[str, Callable[[], Any]] = {
        "cRT": lambda: stages.retrain_classifier(last, balanced, **stage(balanced)),
        "LWS": lambda: stages.learn_scales(last, balanced, epochs=epochs, optimizer=rate(balanced)),
        "LOS": lambda: stages.smooth_classifier(last, natural, **stage(natural)),
        "weight balancing": lambda: stages.balance_classifier(last, natural, **stage(natural)),
    }
    natural = tailfit.Batches(seen, budget.batch_size, seed=batches.seed)
    balanced = tailfit.Batches(seen, budget.batch_size, tailfit.samplers.ClassBalanced(), batches.seed)
    epochs = max(1, budget.epochs // 2)
    rate = lambda of: decayed(budget.learning_rate, epochs * len(of))  # noqa: E731
    stage = lambda of: {"epochs": epochs, "optimizer": rate(of), "verbose": 0}  # noqa: E731

    def after(change: Callable[[], Any]) -> Figures:
        last.set_weights(trained)
        last.compile(loss=tailfit.losses.CrossEntropy(from_logits=True))
        change()
        return figures()

    rows = {name: after(lambda: None)}
    if "scores" in remedy.after:
        adjustment = tailfit.posthoc.LogitAdjustment(batches, from_logits=True)
        rows["post-hoc logit adjustment"] = figures(adjustment.predict)
        rows["tau-normalisation"] = after(lambda: stages.normalize_classifier(last))
    if "stages" in remedy.after:
        rows |= {row: after(change) for row, change in stages_of.items()}
    return rows
