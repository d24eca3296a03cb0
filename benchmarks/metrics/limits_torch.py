"""Updates of metrics on torch by hand: as few calls as the sums need, for class indices without weights or masks.

They neither look for invalid labels nor keep the rounding errors of their sums.
"""

from typing import Any

import keras
import torch

__all__ = ["LIMITS"]

CLASSES, BINS, CAPACITY = 10, 15, 20_000


class Confusion(keras.metrics.Metric):
    """The confusion matrix, from which recall, F1, kappa and the rest are computed; the result is balanced accuracy."""

    def __init__(self) -> None:
        super().__init__(name="by_hand")
        self.cells = self.add_variable((CLASSES * CLASSES,), "zeros")

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        cells = y_pred.argmax(-1).add(y_true, alpha=CLASSES)
        self.cells.value.index_add_(0, cells, torch.ones(len(cells)))

    def result(self) -> Any:
        matrix = self.cells.value.reshape(CLASSES, CLASSES)
        sizes = matrix.sum(-1)
        return (matrix.diag() / sizes.clamp(min=1)).sum() / (sizes > 0).sum()


class Gaps(keras.metrics.Metric):
    """Samples, and sums of the gaps between correctness and confidence, of each bin of confidence."""

    def __init__(self) -> None:
        super().__init__(name="by_hand")
        self.samples, self.gaps = self.add_variable((BINS,), "zeros"), self.add_variable((BINS,), "zeros")

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        confidence, predicted = y_pred.softmax(-1).max(-1)
        number = (confidence * BINS).long().clamp_(max=BINS - 1)
        self.samples.value.index_add_(0, number, torch.ones(len(number)))
        self.gaps.value.index_add_(0, number, (predicted == y_true).float() - confidence)

    def result(self) -> Any:
        return self.gaps.value.abs().sum() / self.samples.value.sum()


class Scores(keras.metrics.Metric):
    """All scores and labels; the result stands for one that sorts them."""

    def __init__(self) -> None:
        super().__init__(name="by_hand")
        self.scores = self.labels = None
        self.kept = self.add_variable((), "zeros", dtype="int64")

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        if self.scores is None:
            self.scores = self.add_variable((CAPACITY, y_pred.shape[-1]), "zeros")
            self.labels = self.add_variable((CAPACITY,), "zeros", dtype="int32")
        rows = self.kept.value + torch.arange(len(y_pred))
        self.scores.value.index_copy_(0, rows, y_pred)
        self.labels.value.index_copy_(0, rows, y_true)
        self.kept.value.add_(len(y_pred))

    def result(self) -> Any:
        return self.kept.value


LIMITS = {"confusion": Confusion, "gaps": Gaps, "scores": Scores}
