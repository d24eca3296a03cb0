"""Short labels for the axes of a chart: printable, of limited length, and all different."""

from collections.abc import Sequence

from tailfit.text import visible

__all__ = ["short_labels"]


def short_labels(names: Sequence[str], limit: int) -> list[str]:
    """Shorten names to printable labels of at most `limit` characters, all different.

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
