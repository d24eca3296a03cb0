"""Weights of models with several outputs: a dict of labels by output, and a dict of results."""

from collections.abc import Callable, Mapping
from typing import Any

from tailfit.errors import ArgumentError

__all__ = ["by_output"]


def by_output(function: Callable[..., Any], y: Mapping[str, Any], **arguments: Any) -> dict[str, Any]:
    """Call `function(y[name], *argument[name])` for each output of a model; an argument of None is None for each.

    Raises:
        ArgumentError: If an argument is not a dict with the same outputs as `y`.

    >>> by_output(lambda y, scale: y * scale, {"cause": 1, "site": 2}, scale={"cause": 10, "site": 20})
    {'cause': 10, 'site': 40}
    """
    for name, value in arguments.items():
        if value is not None and (not isinstance(value, Mapping) or value.keys() != y.keys()):
            shown = f"for {list(value)}" if isinstance(value, Mapping) else f"of type {type(value).__name__}"
            raise ArgumentError(
                f"{name} {shown} together with labels for the outputs {list(y)}",
                expected=f"{name} as a dict with the same outputs",
                fix=f"pass {name}={{{', '.join(f'{output!r}: ...' for output in y)}}}",
            )
    return {output: function(y[output], *(value and value[output] for value in arguments.values())) for output in y}
