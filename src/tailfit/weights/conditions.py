"""Conditions on the metadata of samples, written as SQL expressions.

Polars parses a condition and evaluates it on the columns of the table; nothing is executed as Python. Polars' SQL can
also open files, by a table function such as READ_CSV in a subquery, already while parsing. A condition may come from a
recipe that someone else wrote, so subqueries are refused before polars parses the text.

Missing values follow SQL's three-valued logic: a comparison with a missing value is unknown, so is its negation, and a
row whose condition is unknown does not match. NaN is a missing value, too; polars alone would order it above all
numbers.
"""

import re
from difflib import get_close_matches

import numpy as np
import polars as pl
from numpy.typing import NDArray

from tailfit.errors import ArgumentError

__all__ = ["matches"]

# A failure inside polars' compiled part is raised as PanicException, which is not a PolarsError. A string with a lone
# surrogate can't be passed to polars at all.
_FAILURES = (pl.exceptions.PolarsError, pl.exceptions.PanicException, UnicodeEncodeError)

# A string, a quoted name, a word or number, an operator. Everything else (other quotes, escapes, comments, several
# statements) is refused: polars could find a subquery in it that this tokenizer does not.
_TOKEN = re.compile(
    r"""\s+
    | '(?:[^'\\] | '' | \\(?!'))*+'
    | "(?:[^"] | "")*+"
    | [\w.]++(?!['"])
    | [+*%=<>!(),|&^~:\[\]] | -(?!-) | /(?!\*)""",
    re.VERBOSE,
)
_SUBQUERY = {"select", "with", "table", "values", "from"}  # words that begin a subquery after an opening parenthesis


def matches(metadata: pl.DataFrame, condition: str) -> NDArray[np.bool_]:
    """Return which rows match a condition, `bool[n]`; comparisons with missing values (null, NaN) never match.

    Args:
        metadata: A table with one row per sample.
        condition: A SQL expression on its columns that is true or false for each row.
    Raises:
        ArgumentError: If the condition doesn't parse, names an unknown column, is not true or false, has one value for
            the whole table, or computes a NaN.

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
    # On an empty table an elementwise condition has no values; an aggregate or a constant still has one.
    if _evaluated(metadata.clear(), condition, expression).len() != 0:
        raise ArgumentError(
            f"the condition {condition!r}, which has one value for the whole table",
            expected="a condition that is true or false for each sample",
            fix="compare a column with the aggregate, e.g. snr > AVG(snr)",
        )
    result = _evaluated(metadata, condition, expression)
    if result.dtype != pl.Boolean:
        raise ArgumentError(
            f"the condition {condition!r}, whose values are of type {result.dtype}",
            expected="a condition that is true or false for each sample",
            fix=f"compare the values, e.g. {condition} > 0",
        )
    if len(result) != metadata.height:
        raise ArgumentError(
            f"the condition {condition!r}, which has {len(result)} values for {metadata.height} samples",
            expected="one value per sample",
            fix="compare only columns and constants",
        )
    _refuse_nan(metadata, condition, expression)
    return result.fill_null(value=False).to_numpy()


def _refuse_nan(metadata: pl.DataFrame, condition: str, expression: pl.Expr) -> None:
    # A NaN computed inside the expression, as by 0 / 0, would compare as a number: check each subexpression.
    parts = [expression]
    while parts:
        part = parts.pop()
        try:
            parts += part.meta.pop()
            values = metadata.select(part.alias("part")).to_series()
        except _FAILURES:  # the part can't be evaluated on its own
            continue
        if values.dtype.is_float() and values.is_nan().any():
            raise ArgumentError(
                f"the condition {condition!r}, which computes a NaN, e.g. by 0 / 0 or the root of a negative number",
                expected="numbers or missing values in every part of the condition",
                fix="turn invalid values into missing ones, e.g. x / NULLIF(y, 0)",
            )


def _refuse_subqueries(condition: str) -> None:
    place, before, last = 0, "", ""
    while place < len(condition):
        token = _TOKEN.match(condition, place)
        if token is None:
            raise ArgumentError(
                f"the condition {condition!r}, at {condition[place : place + 12]!r}",
                expected="column names, numbers, text in single quotes, and operators",
                fix="put text in single quotes, and column names with spaces in double quotes",
            )
        word = token[0].strip().lower()
        if word == "select" or (before == "(" and word in _SUBQUERY):
            raise ArgumentError(
                f"the condition {condition!r}, which contains {word.upper()}",
                expected="one expression on the columns, without a subquery",
                fix=f"put {word!r} in double quotes if it is a column, else remove the subquery",
            )
        if word in ("true", "false") and (before == "is" or (last, before) == ("is", "not")):
            raise ArgumentError(
                f"the condition {condition!r}, which contains IS {'NOT ' * (before == 'not')}{word.upper()}",
                expected="comparisons, AND, OR, NOT, and IS NULL; polars treats missing values in IS TRUE and IS FALSE "
                "differently from SQL",
                fix="write the condition itself, or NOT (...), and add OR ... IS NULL to include missing values",
            )
        if word == "null" and before in ("(", ","):
            raise ArgumentError(
                f"the condition {condition!r}, which has NULL in a list",
                expected="known values only, because NULL in a list makes NOT IN unknown for every sample",
                fix="remove NULL from the list, and test for missing values with IS NULL",
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
            fix="put text in single quotes, and column names with spaces in double quotes",
        ) from error


def _check_columns(metadata: pl.DataFrame, condition: str, expression: pl.Expr) -> None:
    unknown = [name for name in expression.meta.root_names() if name not in metadata.columns]
    if unknown:
        near = [name for name in metadata.columns if name.lower() == unknown[0].lower()]
        near += get_close_matches(unknown[0], metadata.columns, n=1)
        raise ArgumentError(
            f"the condition {condition!r}, which names the unknown column {unknown[0]!r}",
            expected=f"the columns {', '.join(map(repr, metadata.columns))}",
            fix=f"use {near[0]!r} if that is meant" if near else "correct the name, or put text in single quotes",
        )


def _evaluated(metadata: pl.DataFrame, condition: str, expression: pl.Expr) -> pl.Series:
    try:
        return metadata.select(expression).to_series()
    except _FAILURES as error:
        raise ArgumentError(
            f"the condition {condition!r}: {_first_line(error)}",
            expected="comparisons that match the types of the columns",
            fix="compare text columns with text in single quotes, and number columns with numbers",
        ) from error


def _first_line(error: BaseException) -> str:
    return str(error).partition("\n")[0]
