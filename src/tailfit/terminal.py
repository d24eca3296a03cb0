"""The console for all output, which prints text from data sets, recipes and paths literally."""

from typing import Any

from rich.console import Console
from rich.text import Text

from tailfit.text import visible

__all__ = ["PlainConsole"]


class PlainConsole(Console):
    r"""A `rich.console.Console` that interprets no markup, emoji codes or control characters in strings.

    Pass styled text as `rich.text.Text`; its contents must be made printable with `visible`.

    >>> import io
    >>> console = PlainConsole(file=io.StringIO(), width=40)
    >>> console.print("[red]\x1b]0;title\x07:bug:")
    >>> console.file.getvalue()
    '[red]\\x1b]0;title\\x07:bug:\n'
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(markup=False, emoji=False, highlight=False, **options)

    def render_str(self, text: str, **options: Any) -> Text:
        """Convert a string to a `Text`; rich calls this for every string that it prints or measures."""
        lines = "\n".join(visible(line) for line in text.split("\n"))
        return super().render_str(lines, **{**options, "markup": False, "emoji": False})
