"""The samplers, schedules, losses, steps, metrics, corrections, networks and optimizers that a recipe can name.

They are collected from the public packages: every exported subclass of the package's base class can be named.
"""

from collections.abc import Callable, Mapping
from types import ModuleType
from typing import Annotated, Any, Final

import keras
from pydantic import Field

from tailfit import augment, losses, metrics, posthoc, samplers, schedules, steps
from tailfit.data import Source
from tailfit.networks.named import NETWORKS
from tailfit.recipes.choices import Number, choice, one_of_kinds
from tailfit.recipes.staging import STAGES
from tailfit.weights import sample_weights

__all__ = [
    "Callback",
    "Correction",
    "Loss",
    "Metric",
    "Network",
    "Optimizer",
    "Sampler",
    "Schedule",
    "Stage",
    "Step",
    "Transform",
]

_CORRECTIONS = ("LogitAdjustment", "TauNorm", "TemperatureScaling", "Thresholds", "VectorScaling")
_CALLBACKS = ("EarlyStopping", "ReduceLROnPlateau", "SwapEMAWeights", "TerminateOnNaN")
_WRAPPERS = ("LossScaleOptimizer", "MultiOptimizer")  # their argument is another optimizer


def _subclasses(package: ModuleType, base: type, exclude: tuple[str, ...] = ()) -> Mapping[str, Callable[..., Any]]:
    """Return the subclasses of `base` that a package exports, by name."""
    found = {name: each for name, each in vars(package).items() if isinstance(each, type) and issubclass(each, base)}
    return {name: each for name, each in sorted(found.items()) if each is not base and name not in exclude}


def _weighted(weights: Any, source: Source) -> samplers.Weighted:
    """Draw samples in proportion to weights, given by class name and condition."""
    return samplers.Weighted(sample_weights(source, weights))


_PositiveInt = Annotated[int, Field(ge=1)]
_Sizes = Annotated[list[_PositiveInt], Field(min_length=1)]
_Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]

Schedule: Final = choice("schedule", _subclasses(schedules, schedules.Schedule, ("Custom",)), user_functions=False)
Sampler: Final = choice(
    "sampler",
    {**_subclasses(samplers, samplers.Sampler, ("ByLength",)), "Weighted": _weighted},
    schedule=Schedule,
    known={"weights": dict[str | int, Annotated[float, Field(ge=0, allow_inf_nan=False)]]},
)
Loss: Final = choice("loss", _subclasses(losses, keras.losses.Loss), default="CrossEntropy", schedule=Schedule)
Step: Final = choice("step", _subclasses(steps, steps.Step), schedule=Schedule)
Transform: Final = choice(
    "transform",
    _subclasses(augment, augment.Augmentation),
    known={"scales": Annotated[list[_Positive], Field(min_length=1)], "value": one_of_kinds(null=None, number=Number)},
)
Metric: Final = choice("metric", _subclasses(metrics, keras.metrics.Metric), schedule=Schedule)
Correction: Final = choice("correction", {name: getattr(posthoc, name) for name in _CORRECTIONS}, user_functions=False)
Stage: Final = choice("stage", STAGES, user_functions=False)
Network: Final = choice("network", NETWORKS, known=dict.fromkeys(("units", "filters", "kernel_sizes"), _Sizes))
_LearningRate: Final = choice(
    "schedule of the learning rate",
    _subclasses(keras.optimizers.schedules, keras.optimizers.schedules.LearningRateSchedule),
    user_functions=False,
    known={
        "initial_learning_rate": _Positive,
        "decay_steps": _PositiveInt,
        "first_decay_steps": _PositiveInt,
        "decay_rate": _Positive,
        "boundaries": _Sizes,
        "values": Annotated[list[_Positive], Field(min_length=1)],
    },
)
# Callbacks that write to a path or send data to a server are left out: a recipe logs with its key `log`.
Callback: Final = choice(
    "callback",
    {name: getattr(keras.callbacks, name) for name in _CALLBACKS},
    user_functions=False,
)
Optimizer: Final = choice(
    "optimizer",
    _subclasses(keras.optimizers, keras.optimizers.Optimizer, _WRAPPERS),
    default="Adam",
    known={"learning_rate": one_of_kinds(number=_Positive, named=_LearningRate)},
)
