"""The console that everything is printed to: text of data sets, recipes and paths stays text on it."""

from typing import Any

from rich.console import Console
from rich.text import Text

from tailfit.text import visible

__all__ = ["PlainConsole"]


class PlainConsole(Console):
    r"""A `rich.console.Console` that obeys nothing in a string: no markup, no emoji codes, no control characters.

    Styles are given as `rich.text.Text`; what it is made of must be `visible`.

    >>> import io
    >>> console = PlainConsole(file=io.StringIO(), width=40)
    >>> console.print("[red]\x1b]0;title\x07:bug:")
    >>> console.file.getvalue()
    '[red]\\x1b]0;title\\x07:bug:\n'
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(markup=False, emoji=False, highlight=False, **options)

    def render_str(self, text: str, **options: Any) -> Text:
        """Bring a string to a `Text`; every string that is printed or measured comes through here."""
        lines = "\n".join(visible(line) for line in text.split("\n"))
        return super().render_str(lines, **{**options, "markup": False, "emoji": False})
