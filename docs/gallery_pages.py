"""The gallery: the scripts in examples/, run when the site is built."""

import os
import sys
from types import ModuleType

__all__ = ["CONFIG", "ORDER", "place", "reset"]

ORDER = [
    "demo",
    "read_report",
    # Training of your own
    "custom_loss",
    "custom_step",
    "gan",
    "mnist_loop",
    "torch_loop",
    "jax_loop",
    # Weights and batches
    "class_weights",
    "sample_weights",
    "npy_generator",
    "own_sampler",
    # Problems
    "root_causes",
    "oil_wells",
    "long_tail_images",
    "multi_label",
    "label_noise",
    "two_stages",
    "which_remedy",
    "planted_leak",
]


def place(filename: str) -> int:
    """Return the place of a script in the gallery; one that is not in `ORDER` is an error."""
    return ORDER.index(filename.removesuffix(".py"))


CONFIG = {
    "examples_dirs": "../examples",
    "gallery_dirs": "gallery",
    "filename_pattern": r"/(?!demo\.py)\w+\.py$",  # all are run; read_report runs demo
    "within_subsection_order": "gallery_pages.place",
    "capture_repr": ("_repr_html_",),
    "reset_modules": ("matplotlib", "gallery_pages.reset"),
    "reset_modules_order": "both",
    "write_computation_times": False,
    "min_reported_time": 3600,
    "show_signature": False,
    "remove_config_comments": True,
}

_kept: dict[str, ModuleType] = {}


def reset(gallery: dict[str, object], fname: str, when: str) -> None:
    """Give a script that chooses another backend its own Keras, as a process of its own would.

    JAX and PyTorch work in one process, TensorFlow and PyTorch do not.
    """
    if os.path.basename(fname) != "torch_loop.py":
        return
    ours = [name for name in sys.modules if name.split(".")[0] in ("keras", "tailfit")]
    if when == "before":
        _kept.update({name: sys.modules.pop(name) for name in ours})
    else:
        for name in ours:
            del sys.modules[name]
        sys.modules.update(_kept)
        os.environ["KERAS_BACKEND"] = "jax"
