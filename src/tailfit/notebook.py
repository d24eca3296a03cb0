"""Results as notebooks show them: tables as HTML, in which every text is escaped."""

from collections.abc import Iterable

import polars as pl
from markupsafe import escape

from tailfit.text import visible

__all__ = ["paragraph", "table_html"]


def table_html(table: pl.DataFrame) -> str:
    """Return a table as HTML, with numbers of three decimals.

    >>> table_html(pl.DataFrame({"id": ["<b>"], "share": [0.5]}))
    '<table><thead><tr><th>id</th><th>share</th></tr></thead><tbody><tr><td>&lt;b&gt;</td><td>0.500</td></tr></tbody></table>'
    """
    head = "".join(f"<th>{_escaped(name)}</th>" for name in table.columns)
    rows = "".join(f"<tr>{_cells(row)}</tr>" for row in table.iter_rows())
    return f"<table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>"


def paragraph(text: str) -> str:
    """Return a text as a paragraph.

    >>> paragraph("a < b")
    '<p>a &lt; b</p>'
    """
    return f"<p>{_escaped(text)}</p>"


def _cells(row: Iterable[object]) -> str:
    return "".join(f"<td>{f'{each:.3f}' if isinstance(each, float) else _escaped(each)}</td>" for each in row)


def _escaped(value: object) -> str:
    return str(escape(visible(str(value))))
