"""Keras' `fit()` for long-tailed classes, labels of unequal trust, and data larger than memory.

tailfit covers four parts of training that users customise. Each is written once and runs on JAX, TensorFlow and
PyTorch: the loss (`tailfit.losses`), the training step or loop (`tailfit.Model`, `tailfit.function`,
`tailfit.value_and_grad`), the weights (`tailfit.weights`) and the batches (`tailfit.data`, `tailfit.samplers`,
`tailfit.Batches`). `tailfit.evaluate` and `tailfit.compare` measure the result. A recipe (`tailfit.recipes`) describes
a whole training run in one YAML file. `tailfit.doctor` examines a plain Keras set-up.

Names are imported on first use. `import tailfit` alone does not import Keras, so that a program can still choose the
backend, and modules that need only NumPy (weights, samplers) import quickly. Saved models with classes of tailfit load
after `import tailfit`, whether Keras is imported before or after it.
"""

from typing import TYPE_CHECKING

from tailfit.lazy import lazy_attributes
from tailfit.registration import register

if TYPE_CHECKING:
    from tailfit import (
        augment,
        callbacks,
        data,
        distributed,
        errors,
        evaluation,
        exporting,
        layers,
        losses,
        metrics,
        networks,
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
    from tailfit.diagnosis import Finding, doctor
    from tailfit.evaluation import Comparison, Evaluation, evaluate
    from tailfit.memory import keep_memory
    from tailfit.recipes import compare
    from tailfit.training import Model, RetraceWarning, function, value_and_grad

__version__ = "0.1.0"

__all__ = [
    "Batches",
    "Comparison",
    "Evaluation",
    "Finding",
    "Model",
    "RetraceWarning",
    "augment",
    "callbacks",
    "compare",
    "data",
    "distributed",
    "doctor",
    "errors",
    "evaluate",
    "evaluation",
    "exporting",
    "function",
    "keep_memory",
    "layers",
    "losses",
    "metrics",
    "networks",
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

__getattr__, __dir__ = lazy_attributes(
    __name__,
    {
        "Batches": "tailfit.data",
        "Comparison": "tailfit.evaluation",
        "Evaluation": "tailfit.evaluation",
        "Finding": "tailfit.diagnosis",
        "Model": "tailfit.training",
        "RetraceWarning": "tailfit.training",
        "augment": "tailfit.augment",
        "callbacks": "tailfit.callbacks",
        "compare": "tailfit.recipes",
        "data": "tailfit.data",
        "distributed": "tailfit.distributed",
        "doctor": "tailfit.diagnosis",
        "errors": "tailfit.errors",
        "evaluate": "tailfit.evaluation",
        "evaluation": "tailfit.evaluation",
        "exporting": "tailfit.exporting",
        "function": "tailfit.training",
        "keep_memory": "tailfit.memory",
        "layers": "tailfit.layers",
        "losses": "tailfit.losses",
        "metrics": "tailfit.metrics",
        "networks": "tailfit.networks",
        "posthoc": "tailfit.posthoc",
        "recipes": "tailfit.recipes",
        "samplers": "tailfit.samplers",
        "schedules": "tailfit.schedules",
        "sklearn": "tailfit.sklearn",
        "stages": "tailfit.stages",
        "steps": "tailfit.steps",
        "value_and_grad": "tailfit.training",
        "weights": "tailfit.weights",
    },
)

register()
del register, lazy_attributes
