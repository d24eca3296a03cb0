"""The state of the global generators of random numbers in a checkpoint."""

from collections.abc import Mapping, MutableMapping
from typing import Any

from tailfit.errors import CheckpointError
from tailfit.resume.encoding import decode, encode
from tailfit.training.generators import captured, check

__all__ = ["checked", "save"]


def save(arrays: MutableMapping[str, Any]) -> Any:
    """Their state as JSON; arrays in it go to `arrays`."""
    return encode(captured(), arrays, "random")


def checked(coded: Any, arrays: Mapping[str, Any]) -> dict[str, Any]:
    """Decode what `save` returned, for `tailfit.training.generators.put_back`.

    Raises:
        CheckpointError: it is not a state that these generators take.
    """
    try:
        state: dict[str, Any] = decode(coded, arrays, "random")
        check(state)
    except Exception as error:  # a generator refuses a state with errors of many types
        raise CheckpointError(
            f"a state of random generators that they can't take ({type(error).__name__}: {error})",
            expected="the state that was saved",
            fix="delete this checkpoint; an older one is used then, or the run begins anew",
        ) from error
    return state
