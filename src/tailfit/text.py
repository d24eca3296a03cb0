"""Printable text: escapes for control characters, the format of messages, and the base of warnings."""

__all__ = ["TailfitWarning", "three_parts", "visible"]

_JOINER = "\u200d"  # joins the parts of an emoji; harmless, and needed to display them


def visible(text: str) -> str:
    r"""Write control characters, direction marks and other invisible characters as escapes.

    A terminal executes escape sequences, a right-to-left override reverses the digits that follow it, and a lone
    surrogate can't be encoded. Letters of every script stay.

    >>> visible("pump\n\u202e1 \x1b[31m")
    'pump\\n\\u202e1 \\x1b[31m'
    """
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() or c == _JOINER else repr(c)[1:-1] for c in text)


def three_parts(received: str, expected: str, fix: str) -> str:
    """Compose the message of an error or a warning from its three parts.

    >>> three_parts("gamma=-1.0", "gamma >= 0", "use gamma=0")
    'Received gamma=-1.0. Expected gamma >= 0. Fix: use gamma=0.'
    """
    return f"Received {received}. Expected {expected}. Fix: {fix}."


class TailfitWarning(UserWarning):
    """Base of tailfit's warnings; its message is made printable, as that of `TailfitError`."""

    def __init__(self, message: str) -> None:
        super().__init__(visible(message))
