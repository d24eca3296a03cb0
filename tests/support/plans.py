"""Strategies for labels, seeds and batch sizes, and the epochs of a plan."""

import numpy as np
from hypothesis import strategies as st

counts_of_classes = st.lists(st.integers(1, 40), min_size=1, max_size=7)
batch_sizes = st.none() | st.integers(1, 50)
seeds = st.integers(0, 2**64 - 1)


@st.composite
def labels_in_any_order(draw):
    labels = np.repeat(np.arange(len(counts := draw(counts_of_classes))), counts)
    return np.random.default_rng(draw(st.integers(0, 99))).permutation(labels)


def epoch_of(plan, epoch):
    return plan.indices(epoch, 0, plan.size(epoch))
