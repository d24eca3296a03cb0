"""What a recipe can name: every sampler, schedule, loss, step, metric, correction and optimizer there is.

The lists are found, not written: what a room exports and derives from its base class can be named.
"""

from collections.abc import Callable, Mapping
from types import ModuleType
from typing import Annotated, Any, Final

import keras
from pydantic import Field

from tailfit import losses, metrics, posthoc, samplers, schedules, steps
from tailfit.data import Source
from tailfit.networks.built_in import NETWORKS
from tailfit.recipes.choices import choice, of_kinds
from tailfit.weights import sample_weights

__all__ = ["Correction", "Loss", "Metric", "Network", "Optimizer", "Sampler", "Schedule", "Step"]

_FITTED = ("LogitAdjustment", "TauNorm", "TemperatureScaling", "Thresholds", "VectorScaling")
_NO_OPTIMIZERS = ("LossScaleOptimizer", "MultiOptimizer")  # of other optimizers


def _of(room: ModuleType, base: type, leave_out: tuple[str, ...] = ()) -> Mapping[str, Callable[..., Any]]:
    """The classes in a room that derive from `base`, by name."""
    named = {name: thing for name, thing in vars(room).items() if isinstance(thing, type) and issubclass(thing, base)}
    return {name: thing for name, thing in sorted(named.items()) if thing is not base and name not in leave_out}


def _weighted(weights: Any, source: Source) -> samplers.Weighted:
    """Samples in proportion to their weights, by class name and condition."""
    return samplers.Weighted(sample_weights(source, weights))


_Whole = Annotated[int, Field(ge=1)]
_Sizes = Annotated[list[_Whole], Field(min_length=1)]
_Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]

Schedule: Final = choice("schedule", _of(schedules, schedules.Schedule, ("Custom",)), own=False)
Sampler: Final = choice(
    "sampler",
    {**_of(samplers, samplers.Sampler, ("ByLength", "Runs")), "Weighted": _weighted},
    schedule=Schedule,
    known={"weights": dict[str | int, Annotated[float, Field(ge=0, allow_inf_nan=False)]]},
)
Loss: Final = choice("loss", _of(losses, keras.losses.Loss), default="CrossEntropy", schedule=Schedule)
Step: Final = choice("step", _of(steps, steps.Step), schedule=Schedule)
Metric: Final = choice("metric", _of(metrics, keras.metrics.Metric), schedule=Schedule)
Correction: Final = choice("correction", {name: getattr(posthoc, name) for name in _FITTED}, own=False)
Network: Final = choice("network", NETWORKS, known={"units": _Sizes, "filters": _Sizes})
_RATE: Final = choice(
    "schedule of the learning rate",
    _of(keras.optimizers.schedules, keras.optimizers.schedules.LearningRateSchedule),
    own=False,
    known={
        "initial_learning_rate": _Positive,
        "decay_steps": _Whole,
        "first_decay_steps": _Whole,
        "decay_rate": _Positive,
        "boundaries": _Sizes,
        "values": Annotated[list[_Positive], Field(min_length=1)],
    },
)
Optimizer: Final = choice(
    "optimizer",
    _of(keras.optimizers, keras.optimizers.Optimizer, _NO_OPTIMIZERS),
    default="Adam",
    known={"learning_rate": of_kinds(number=_Positive, named=_RATE)},
)
