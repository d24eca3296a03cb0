"""New losses, optimizers, steps and callbacks for each fit, so that fits and clones share no state."""

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
    """Build the loss of one fit, with the class counts of its batches if the loss has such a parameter.

    Args:
        given: The parameter `loss` of `tailfit.sklearn.Classifier`.
        batches: The training data.
    Raises:
        ArgumentError: If `given` is not a loss and does not build one.
    """
    if isinstance(given, keras.losses.Loss):
        return type(given).from_config(given.get_config())
    maker = getattr(losses, given, None) if isinstance(given, str) else given
    named = isinstance(given, str) and not (isinstance(maker, type) and issubclass(maker, keras.losses.Loss))
    made = None if named or not callable(maker) else _call(maker, batches)
    if not isinstance(made, keras.losses.Loss):
        raise ArgumentError(
            f"loss={given!r}",
            expected="the name of a class in tailfit.losses, a loss, or a function of class_counts that returns one",
            fix="pass 'LogitAdjusted' or functools.partial(tailfit.losses.Focal, gamma=1.0), for example",
        )
    return made


def _call(maker: Callable[..., Any], batches: Batches) -> Any:
    parameters = inspect.signature(maker).parameters
    bound = maker.keywords if isinstance(maker, functools.partial) else {}
    supplied: dict[str, Any] = {}
    if "class_counts" in parameters and parameters["class_counts"].default is inspect.Parameter.empty:
        supplied["class_counts"] = batches.class_counts
    if "from_logits" in parameters and "from_logits" not in bound:
        supplied["from_logits"] = True
    missing = [
        name
        for name, parameter in parameters.items()
        if name not in supplied
        and parameter.default is inspect.Parameter.empty
        and parameter.kind not in (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    ]
    if missing:
        raise ArgumentError(
            f"a loss {getattr(maker, '__name__', maker)!r} with the required parameters {', '.join(missing)}",
            expected="no required parameters except class_counts and from_logits",
            fix="bind the other parameters with functools.partial, or subclass keras.losses.Loss for a function of "
            "(y_true, y_pred)",
        )
    return maker(**supplied)


def new_optimizer(given: Any, learning_rate: float | None) -> keras.optimizers.Optimizer:
    """Build the optimizer of one fit.

    Raises:
        ArgumentError: If `given` is not an optimizer and does not build one, or `learning_rate` is given together with
            an optimizer that has its own.
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
            expected="the name of a Keras optimizer, an optimizer, or a function that returns one",
            fix="pass 'adam' or functools.partial(keras.optimizers.SGD, momentum=0.9), for example",
        )
    if learning_rate is not None:
        if not isinstance(given, str):
            raise ArgumentError(
                f"learning_rate={learning_rate!r} together with optimizer={given!r}",
                expected="learning_rate together with the name of an optimizer",
                fix="set the learning rate of the optimizer itself, and omit learning_rate",
            )
        made.learning_rate = learning_rate
    return made


def new_steps(given: Sequence[Any] | None) -> list[Any]:
    """Copy the steps for one fit, with their initial seeds and counters."""
    return [type(step).from_config(step.get_config()) for step in given or ()]


def new_callbacks(given: Any) -> list[keras.callbacks.Callback]:
    """Return the callbacks of one fit: copies of the given ones, or the result of the given function."""
    return list(given()) if callable(given) else copy.deepcopy(list(given or ()))


def codes_of_weights(given: Any, classes: NDArray[Any]) -> Any:
    """Convert `class_weight` from labels to class indices; names of schemes and schedules are returned unchanged.

    Raises:
        ArgumentError: If a class does not occur in y. `Batches` refuses a missing class.
    """
    if given is None or isinstance(given, str | Schedule):
        return given
    if not isinstance(given, Mapping):
        raise ArgumentError(
            f"class_weight of type {type(given).__name__}",
            expected="a dict of weights by class, the name of a scheme such as 'balanced', or None",
            fix="pass class_weight='balanced', for example",
        )
    codes = {}
    for label, weight in given.items():
        found = np.flatnonzero(classes == label)
        if not len(found):
            raise ArgumentError(
                f"class_weight for the class {label!r}, which does not occur in y",
                expected=f"the classes of y: {', '.join(map(repr, classes.tolist()))}",
                fix="remove the class from class_weight, or correct its name",
            )
        codes[int(found[0])] = weight
    return codes
