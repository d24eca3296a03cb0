"""tailfit tailors Keras' `fit()` to the data people really have.

Four things a user customises, each written once and running on JAX, TensorFlow and PyTorch: the loss
(`tailfit.losses`), the training step or loop (`tailfit.Model`, `tailfit.function`,
`tailfit.value_and_grad`), the weights (`tailfit.weights`) and the batches (`tailfit.data`,
`tailfit.samplers`, `tailfit.Batches`); and the honest numbers afterwards (`tailfit.evaluate`,
`tailfit.compare`). A recipe (`tailfit.recipes`) says all four in one YAML file.

Names are imported on first use: `import tailfit` alone does not import Keras, so a program can still
choose its backend, and what needs only NumPy (weights, samplers) stays quick to import. Saved models that hold classes
of tailfit load after it all the same, whichever of the two is imported first.
"""

import importlib
from typing import TYPE_CHECKING, Any

from tailfit.registration import register

if TYPE_CHECKING:
    from tailfit import (
        callbacks,
        data,
        errors,
        evaluation,
        layers,
        losses,
        metrics,
        posthoc,
        recipes,
        samplers,
        schedules,
        sklearn,
        stages,
        steps,
        weights,
    )
    from tailfit.data import Batches
    from tailfit.evaluation import Comparison, Evaluation, evaluate
    from tailfit.recipes import compare
    from tailfit.training import Model, RetraceWarning, function, value_and_grad

__version__ = "0.1.0.dev0"

__all__ = [
    "Batches",
    "Comparison",
    "Evaluation",
    "Model",
    "RetraceWarning",
    "callbacks",
    "compare",
    "data",
    "errors",
    "evaluate",
    "evaluation",
    "function",
    "layers",
    "losses",
    "metrics",
    "posthoc",
    "recipes",
    "samplers",
    "schedules",
    "sklearn",
    "stages",
    "steps",
    "value_and_grad",
    "weights",
]

_HOME = {
    "Batches": "tailfit.data",
    "Comparison": "tailfit.evaluation",
    "Evaluation": "tailfit.evaluation",
    "Model": "tailfit.training",
    "RetraceWarning": "tailfit.training",
    "compare": "tailfit.recipes",
    "evaluate": "tailfit.evaluation",
    "function": "tailfit.training",
    "value_and_grad": "tailfit.training",
}


register()
del register


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(importlib.import_module(_HOME[name]), name)
    if name in __all__:
        return importlib.import_module(f"tailfit.{name}")
    raise AttributeError(f"module 'tailfit' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
