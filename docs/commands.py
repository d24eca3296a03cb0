"""The page of all commands, made from their help texts: `python docs/commands.py` renews it."""

from pathlib import Path

import click
from typer.main import get_command

from tailfit.cli.app import app

__all__ = ["PAGE", "page"]

PAGE = Path(__file__).with_suffix(".md")
_WIDTH = 110
_HEAD = """# Commands

<!-- made by docs/commands.py from `tailfit --help` -->

Every command ends with exit code 0 (success), 1 (a failed run, or a problem found) or 2 (invalid input). An error is
three lines on standard error: what was received, what is expected, and how to fix it; `--debug` shows the traceback.
`--json` prints JSON instead of a table. `tailfit shell-completion bash` (or `zsh`, `fish`) prints a script that
completes commands and options.

| command | what it does |
|---|---|
"""


def page() -> str:
    """Return the page: a table of the commands, and the help text of each."""
    commands = list(_commands(get_command(app), ["tailfit"]))
    rows = [
        f"| [`{name}`](#{name.replace(' ', '-')}) | {command.get_short_help_str(limit=200)} |"
        for name, command in commands
    ]
    texts = [f"## {name}\n\n```text\n{_help(name, command)}\n```\n" for name, command in commands]
    return _HEAD + "\n".join(rows) + "\n\n" + "\n".join(texts)


def _commands(group, names):
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from _commands(command, [*names, name])
        else:
            yield " ".join([*names, name]), command


def _help(name: str, command) -> str:
    context = click.Context(command, info_name=name, terminal_width=_WIDTH, max_content_width=_WIDTH)
    lines = command.get_help(context).splitlines()
    return "\n".join(line.rstrip() for line in lines)


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
