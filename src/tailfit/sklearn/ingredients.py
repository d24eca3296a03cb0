"""What an estimator is configured with, made new for each fit: two fits, or two clones, share no state."""

import copy
import functools
import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from tailfit import losses
from tailfit.data import Batches
from tailfit.errors import ArgumentError
from tailfit.schedules import Schedule

__all__ = ["codes_of_weights", "new_callbacks", "new_loss", "new_optimizer", "new_steps"]


def new_loss(given: Any, batches: Batches) -> keras.losses.Loss:
    """The loss of one fit, told the class counts of its batches where it wants them.

    Args:
        given: As the `loss` of `tailfit.sklearn.Classifier`.
        batches: What is trained on.
    Raises:
        ArgumentError: for what is or makes no loss.
    """
    if isinstance(given, keras.losses.Loss):
        return type(given).from_config(given.get_config())
    maker = getattr(losses, given, None) if isinstance(given, str) else given
    named = isinstance(given, str) and not (isinstance(maker, type) and issubclass(maker, keras.losses.Loss))
    made = None if named or not callable(maker) else _called(maker, batches)
    if not isinstance(made, keras.losses.Loss):
        raise ArgumentError(
            f"loss={given!r}",
            expected="the name of a class of tailfit.losses, a loss, or a function of class_counts that returns one",
            fix="pass e.g. 'LogitAdjusted', or functools.partial(tailfit.losses.Focal, gamma=1.0)",
        )
    return made


def _called(maker: Callable[..., Any], batches: Batches) -> Any:
    parameters = inspect.signature(maker).parameters
    bound = maker.keywords if isinstance(maker, functools.partial) else {}
    told: dict[str, Any] = {}
    if "class_counts" in parameters and parameters["class_counts"].default is inspect.Parameter.empty:
        told["class_counts"] = batches.class_counts
    if "from_logits" in parameters and "from_logits" not in bound:
        told["from_logits"] = True
    missing = [
        name
        for name, parameter in parameters.items()
        if name not in told
        and parameter.default is inspect.Parameter.empty
        and parameter.kind not in (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    ]
    if missing:
        raise ArgumentError(
            f"a loss {getattr(maker, '__name__', maker)!r} that needs {', '.join(missing)}",
            expected="what needs class_counts and from_logits only",
            fix="bind the others with functools.partial; wrap a function of (y_true, y_pred) in a keras.losses.Loss",
        )
    return maker(**told)


def new_optimizer(given: Any, learning_rate: float | None) -> keras.optimizers.Optimizer:
    """The optimizer of one fit.

    Raises:
        ArgumentError: for what is no optimizer; for a `learning_rate` beside one that has its own.
    """
    if isinstance(given, str):
        try:
            made = keras.optimizers.get(given)
        except ValueError:
            made = None
    elif isinstance(given, keras.optimizers.Optimizer):
        made = type(given).from_config(given.get_config())
    else:
        made = given() if callable(given) else None
    if not isinstance(made, keras.optimizers.Optimizer):
        raise ArgumentError(
            f"optimizer={given!r}",
            expected="a name that Keras knows, an optimizer, or a function that returns one",
            fix="pass optimizer='adam', or functools.partial(keras.optimizers.SGD, momentum=0.9)",
        )
    if learning_rate is not None:
        if not isinstance(given, str):
            raise ArgumentError(
                f"learning_rate={learning_rate!r} beside {given!r}",
                expected="learning_rate beside the name of an optimizer",
                fix="give the optimizer its learning rate, and leave the other out",
            )
        made.learning_rate = learning_rate
    return made


def new_steps(given: Sequence[Any] | None) -> list[Any]:
    """The steps of one fit: their seeds and counters begin anew."""
    return [type(step).from_config(step.get_config()) for step in given or ()]


def new_callbacks(given: Any) -> list[keras.callbacks.Callback]:
    """The callbacks of one fit: copies of a list, or what a function returns."""
    return list(given()) if callable(given) else copy.deepcopy(list(given or ()))


def codes_of_weights(given: Any, classes: NDArray[Any]) -> Any:
    """`class_weight` by the codes of the classes; names of schemes and schedules as they are.

    Raises:
        ArgumentError: for a class that y does not have; one left out is refused by `Batches`.
    """
    if given is None or isinstance(given, str | Schedule):
        return given
    if not isinstance(given, Mapping):
        raise ArgumentError(
            f"class_weight of type {type(given).__name__}",
            expected="a dict from class to weight, the name of a scheme such as 'balanced', or None",
            fix="pass class_weight='balanced'",
        )
    codes = {}
    for label, weight in given.items():
        found = np.flatnonzero(classes == label)
        if not len(found):
            raise ArgumentError(
                f"class_weight for the class {label!r}",
                expected=f"the classes of y: {', '.join(map(repr, classes.tolist()))}",
                fix="leave it out, or correct the name",
            )
        codes[int(found[0])] = weight
    return codes
