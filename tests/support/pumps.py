"""Records of two classes, of which one is rare, in a folder of `.npy` files."""

from pathlib import Path

import numpy as np

import tailfit

__all__ = ["saved_pumps"]


def saved_pumps(parent: Path, *, samples: int, every: int, shape: tuple[int, ...]) -> Path:
    """Save normal records of mean 0 ("ok"), or of mean 1 ("leak") for one sample of `every`; return the folder."""
    y = (np.arange(samples) % every == 0).astype(int)
    means = y.reshape(-1, *(1 for _ in shape))
    x = np.random.default_rng(0).normal(means, size=(samples, *shape)).astype("float32")
    tailfit.data.save_npy_folder(parent / "pumps", x, np.array(["ok", "leak"])[y])
    return parent / "pumps"
