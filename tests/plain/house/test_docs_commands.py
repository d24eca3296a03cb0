"""Every `tailfit` command on the pages parses: the command, its options and the number of its arguments exist.

`tests/keras/house/test_docs_commands.py` also runs those of "Getting started".
"""

import pytest
from support.page_code import shell_commands
from support.paths import ROOT

PAGES = [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").glob("*.md")), *sorted((ROOT / "docs").glob("*/*.md"))]
COMMANDS = [
    pytest.param(command, id=f"{page.name}: {' '.join(command)}")
    for page in PAGES
    for command in shell_commands(page)
    if command[0] == "tailfit" and len(command) > 1
]


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_on_a_page_parses(command: list[str]) -> None:
    from typer.main import get_command

    from tailfit.cli.app import app

    context, known = None, get_command(app)
    words = command[1:]
    while hasattr(known, "commands"):
        assert words, f"{command} names no command"
        known = known.commands[words.pop(0)]
    known.make_context(known.name, words, parent=context)


def test_there_are_such_commands() -> None:
    assert len(COMMANDS) > 40
