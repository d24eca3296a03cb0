"""Names from outside, made safe to look at: nothing invisible, nothing endless, none twice."""

import unicodedata
from collections.abc import Sequence

__all__ = ["short_labels", "visible"]

_JOINER = "\u200d"  # inside emoji of several parts; harmless, and needed to show them


def visible(text: str) -> str:
    r"""Write control characters and direction marks as escapes; letters of every script stay.

    A name with a right-to-left override would otherwise turn the numbers beside it around, and one with
    a line break or a terminal escape would take the table apart.

    >>> visible("pump\n\u202e1")
    'pump\\n\\u202e1'
    """
    return "".join(
        c if c.isprintable() or c == _JOINER else c.encode("unicode_escape").decode("ascii")
        for c in unicodedata.normalize("NFC", text)
    )


def short_labels(names: Sequence[str], limit: int) -> list[str]:
    """Visible names of at most `limit` characters, all different: axes tell categories apart by them.

    >>> short_labels(["valve leak, north", "valve leak, south"], 10)
    ['valve lea…', 'valve l… 2']
    """
    taken: set[str] = set()
    labels = []
    for name in map(visible, names):
        label = name if len(name) <= limit else name[: limit - 1] + "…"
        copy = 1
        while label in taken:
            copy += 1
            suffix = f"… {copy}"
            label = name[: limit - len(suffix)] + suffix
        taken.add(label)
        labels.append(label)
    return labels
