"""The state of the global random generators in a checkpoint."""

from collections.abc import Mapping, MutableMapping
from typing import Any

from tailfit.errors import CheckpointError
from tailfit.resume.encoding import decode, encode
from tailfit.training.generators import captured, check

__all__ = ["checked", "save"]


def save(arrays: MutableMapping[str, Any]) -> Any:
    """Encode the current state as JSON; its arrays are added to `arrays`."""
    return encode(captured(), arrays, "random")


def checked(coded: Any, arrays: Mapping[str, Any]) -> dict[str, Any]:
    """Decode the output of `save`, for `tailfit.training.generators.restore_states`.

    Raises:
        CheckpointError: If it is not a valid state of these generators.
    """
    try:
        state: dict[str, Any] = decode(coded, arrays, "random")
        check(state)
    except Exception as error:  # generators reject a state with various types of errors
        raise CheckpointError(
            f"an invalid state of the random generators ({type(error).__name__}: {error})",
            expected="the state that was saved",
            fix="delete this checkpoint; the run then continues from an older one, or starts again",
        ) from error
    return state
