"""Conditions on the metadata of the samples, written as SQL expressions.

Polars parses and evaluates them over the table's columns; nothing is executed as Python. Polars' SQL can also
open files, by a table function such as READ_CSV within a subquery, and does so as it parses: a condition may
come from a recipe that someone else wrote, so what polars would see as a subquery is refused before it sees it.

Missing values follow SQL's three-valued logic: a comparison with one is unknown, so is its negation, and a row whose
condition is unknown doesn't meet it. NaN is a missing value, too: by itself it would be larger than any number.
"""

import re
from difflib import get_close_matches

import numpy as np
import polars as pl
from numpy.typing import NDArray

from tailfit.errors import ArgumentError

__all__ = ["matches"]

# A failure inside polars' compiled part is raised as PanicException, which is no PolarsError.
# Text of half a character pair can't be handed to it.
_FAILURES = (pl.exceptions.PolarsError, pl.exceptions.PanicException, UnicodeEncodeError)

# Text, a quoted name, a word or number, an operator. What is left out (other quotes, escapes, comments, several
# statements) could hide a subquery from this reading and show it to polars.
_TOKEN = re.compile(
    r"""\s+
    | '(?:[^'\\] | '' | \\(?!'))*+'
    | "(?:[^"] | "")*+"
    | [\w.]++(?!['"])
    | [+*%=<>!(),|&^~:\[\]] | -(?!-) | /(?!\*)""",
    re.VERBOSE,
)
_SUBQUERY = {"select", "with", "table", "values", "from"}  # where one stands after an opening bracket


def matches(metadata: pl.DataFrame, condition: str) -> NDArray[np.bool_]:
    """Which rows meet a condition, `bool[n]`; a comparison with a missing value (null, NaN) is met by none.

    Args:
        metadata: A row a sample.
        condition: A SQL expression over its columns that is true or false for each row.
    Raises:
        ArgumentError: for a condition that doesn't parse, names an unknown column, is not true or false, is one
            answer for the whole table, or calculates a NaN.

    >>> table = pl.DataFrame({"site": ["A", "B", None], "snr": [9.0, 2.0, float("nan")]})
    >>> matches(table, "site = 'B' AND snr < 3").tolist()
    [False, True, False]
    >>> matches(table, "NOT (snr < 3)").tolist(), matches(table, "snr IS NULL").tolist()
    ([True, False, False], [False, False, True])
    """
    _refuse_subqueries(condition)
    expression = _parsed(condition)
    _check_columns(metadata, condition, expression)
    floats = [name for name, dtype in metadata.schema.items() if dtype.is_float()]
    metadata = metadata.with_columns(pl.col(floats).fill_nan(None))
    # An elementwise condition of no rows has no answers; a total or a constant still has one.
    if _evaluated(metadata.clear(), condition, expression).len() != 0:
        raise ArgumentError(
            f"the condition {condition!r}, which has one answer for the whole table",
            expected="a condition that is true or false for each sample",
            fix="compare a column with the total, e.g. snr > AVG(snr), or weigh the loss instead",
        )
    result = _evaluated(metadata, condition, expression)
    if result.dtype != pl.Boolean:
        raise ArgumentError(
            f"the condition {condition!r}, whose values are of type {result.dtype}",
            expected="a condition that is true or false for each sample",
            fix=f"compare it, e.g. {condition} > 0",
        )
    if len(result) != metadata.height:
        raise ArgumentError(
            f"the condition {condition!r}, with {len(result)} answers for {metadata.height} samples",
            expected="one answer a sample",
            fix="compare columns and constants only",
        )
    _refuse_nan(metadata, condition, expression)
    return result.fill_null(value=False).to_numpy()


def _refuse_nan(metadata: pl.DataFrame, condition: str, expression: pl.Expr) -> None:
    """A NaN that is calculated, as 0 / 0 is, would compare as a number: each part of the expression is looked at."""
    parts = [expression]
    while parts:
        part = parts.pop()
        try:
            parts += part.meta.pop()
            values = metadata.select(part.alias("part")).to_series()
        except _FAILURES:  # a part that is nothing by itself
            continue
        if values.dtype.is_float() and values.is_nan().any():
            raise ArgumentError(
                f"the condition {condition!r}, which calculates a NaN, as 0 / 0 or the root of a negative number is",
                expected="numbers, or missing values, which meet no comparison",
                fix="make them missing, e.g. x / NULLIF(y, 0)",
            )


def _refuse_subqueries(condition: str) -> None:
    place, before, last = 0, "", ""
    while place < len(condition):
        token = _TOKEN.match(condition, place)
        if token is None:
            raise ArgumentError(
                f"the condition {condition!r}, at {condition[place : place + 12]!r}",
                expected="column names, numbers, text in single quotes, and operators",
                fix="put text in single quotes, column names with spaces in double quotes",
            )
        word = token[0].strip().lower()
        if word == "select" or (before == "(" and word in _SUBQUERY):
            raise ArgumentError(
                f"the condition {condition!r}, which has {word.upper()} in it",
                expected="one expression over the columns, without a subquery",
                fix=f"if {word!r} is a column, put it in double quotes",
            )
        if word in ("true", "false") and (before == "is" or (last, before) == ("is", "not")):
            raise ArgumentError(
                f"the condition {condition!r}, which has IS {'NOT ' * (before == 'not')}{word.upper()} in it",
                expected="comparisons, AND, OR, NOT, and IS NULL for missing values: polars leaves this one unknown",
                fix="write the condition itself, or NOT (...); add OR ... IS NULL if missing values are meant",
            )
        if word == "null" and before in ("(", ","):
            raise ArgumentError(
                f"the condition {condition!r}, which has NULL in a list",
                expected="values in a list: an unknown one makes NOT IN unknown for every sample",
                fix="leave it out; IS NULL asks for missing values",
            )
        if word:
            last, before = before, word
        place = token.end()


def _parsed(condition: str) -> pl.Expr:
    try:
        return pl.sql_expr(condition)
    except _FAILURES as error:
        raise ArgumentError(
            f"the condition {condition!r}: {_first_line(error)}",
            expected="a SQL expression such as site = 'B' AND snr < 3",
            fix="put text in single quotes, column names with spaces in double quotes",
        ) from error


def _check_columns(metadata: pl.DataFrame, condition: str, expression: pl.Expr) -> None:
    unknown = [name for name in expression.meta.root_names() if name not in metadata.columns]
    if unknown:
        near = [name for name in metadata.columns if name.lower() == unknown[0].lower()]
        near += get_close_matches(unknown[0], metadata.columns, n=1)
        raise ArgumentError(
            f"the condition {condition!r}, which names the unknown column {unknown[0]!r}",
            expected=f"the columns {', '.join(map(repr, metadata.columns))}",
            fix=f"use {near[0]!r} if that is meant" if near else "correct the name; text goes in single quotes",
        )


def _evaluated(metadata: pl.DataFrame, condition: str, expression: pl.Expr) -> pl.Series:
    try:
        return metadata.select(expression).to_series()
    except _FAILURES as error:
        raise ArgumentError(
            f"the condition {condition!r}: {_first_line(error)}",
            expected="comparisons that suit the types of the columns",
            fix="compare text with text in single quotes, numbers with numbers",
        ) from error


def _first_line(error: BaseException) -> str:
    return str(error).partition("\n")[0]
