"""Matching of the rows of a table to samples by ID.

The same rules apply to every table that belongs to records (labels, metadata, probabilities):

- The ID column is the one that the user names (`id="run"`), or else the column whose *values* are the known IDs, each
  exactly once, regardless of its name and position.
- If several such columns order the rows differently, the one called `id` (or `ID`, `Id`) is used; without one the table
  is refused. The row numbers of a data frame are never used as IDs unless the user names them.
- Rows are matched by position only if the samples have no IDs except their own row numbers (`Numbered`) and no column
  is called `id`.

IDs are compared as text: `001` is not `1`. A value that is not a known ID is matched to the one ID that it spells
differently: with or without the file name extension (`001.npy`), with or without a folder (`data/001`, `data\\001`, the
same folder for all), or with different Unicode composition of accents (NFC, NFD).
"""

import re
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property
from typing import Final, overload

import polars as pl

from tailfit.data.files.images import SUFFIXES
from tailfit.data.tables.reading import Rows
from tailfit.data.tables.row_numbers import may_number_rows
from tailfit.errors import ArgumentError, DataError
from tailfit.names import check_name

__all__ = ["KnownIDs", "Numbered", "check_id", "checked_id_column", "columns_of", "id_column", "row_numbers"]

_ENDING = re.compile(r"(?i)(?:" + "|".join(map(re.escape, (".npy", *SUFFIXES))) + ")$")

_MAX_SHOWN = 20  # column names in a message


class Numbered(Sequence[str]):
    """The IDs "0", "1", ... of samples without IDs, as a sequence that does not store n strings.

    >>> list(Numbered(3)), "2" in Numbered(3), "02" in Numbered(3)
    (['0', '1', '2'], True, False)
    """

    def __init__(self, size: int) -> None:
        self._range = range(size)

    def __len__(self) -> int:
        return len(self._range)

    def __iter__(self) -> Iterator[str]:
        return map(str, self._range)

    def __contains__(self, name: object) -> bool:
        # The length is limited because int() refuses strings of more than 4,300 digits.
        if not (isinstance(name, str) and name.isdecimal() and len(name) < 20):
            return False
        return str(int(name)) == name and int(name) < len(self)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Numbered) and len(self) == len(other)

    def __hash__(self) -> int:
        return hash(len(self))

    @overload
    def __getitem__(self, position: int) -> str: ...

    @overload
    def __getitem__(self, position: slice) -> list[str]: ...

    def __getitem__(self, position: int | slice) -> str | list[str]:
        picked = self._range[position]
        return str(picked) if isinstance(picked, int) else [str(number) for number in picked]


class KnownIDs:
    """The IDs of some samples, matched to the different spellings that tables may use.

    >>> KnownIDs(["001", "002"]).spellings(["001.npy", "data\\\\002", "3"])
    {'001.npy': '001', 'data\\\\002': '002'}
    """

    def __init__(self, ids: Iterable[str]) -> None:
        self.names: Final = pl.Series("id", list(ids), dtype=pl.String)

    def __len__(self) -> int:
        return len(self.names)

    def may_all_be_in(self, written: pl.Series) -> bool:
        """Return whether three sample IDs occur in a column in any spelling: a fast filter of other columns."""
        probes = [self.names[place] for place in {0, len(self) // 2, len(self) - 1}] if len(self) else []
        ends = [_without_ending(probe).rpartition("/")[2] for probe in probes if probe.isascii() and "\\" not in probe]
        return all(written.str.contains(end, literal=True).any() for end in ends)

    def without_zeros(self, written: pl.Series) -> str | None:
        """Return a value that equals an ID except for leading zeros, which spreadsheets and numeric columns drop."""
        stripped = self.names.str.strip_chars_start("0").to_frame()
        values = written.rename("written").to_frame().with_columns(id=pl.col("written").str.strip_chars_start("0"))
        found = values.drop_nulls().join(stripped, on="id", how="semi", maintain_order="left")
        return str(found["written"][0]) if found.height else None

    def resolved(self, written: pl.Series) -> pl.Series:
        """Map each value to the ID that it equals or spells; null if there is no such ID."""
        distinct = written.rename("written").drop_nulls().unique(maintain_order=True).to_frame()
        known = self.names.to_frame()
        # Joins instead of is_in, whose argument changed between versions of polars.
        exact = distinct.join(known, left_on="written", right_on="id", how="semi").with_columns(id=pl.col("written"))
        unknown = distinct.join(known, left_on="written", right_on="id", how="anti")["written"]
        spelled = self.spellings(self._candidates(unknown).to_list())
        if spelled:
            columns = {"written": list(spelled), "id": list(spelled.values())}
            exact = pl.concat([exact, pl.DataFrame(columns, schema=exact.schema)])
        return written.rename("written").to_frame().join(exact, on="written", how="left", maintain_order="left")["id"]

    def _candidates(self, values: pl.Series) -> pl.Series:
        """Return the values that end like an ID or are not ASCII, so that few values are compared one by one."""
        ends = values.to_frame("written").with_columns(end=_end(pl.col("written")))
        ending_like_ids = ends.join(self._ends, on="end", how="semi", maintain_order="left")["written"]
        accented = values.filter(values.str.len_bytes() != values.str.len_chars())
        return pl.concat([ending_like_ids, accented]).unique(maintain_order=True)

    @cached_property
    def _ends(self) -> pl.DataFrame:
        return self.names.to_frame("written").select(end=_end(pl.col("written"))).unique()

    def spellings(self, names: Iterable[str]) -> dict[str, str]:
        """Map names that are not IDs to the IDs that they spell; omit names that spell no ID."""
        forms = {name: _form(name) for name in names}
        prefix = next((found for form in forms.values() if (found := self._prefix(form)) is not None), "")
        # A path with ".." never spells an ID, because it may leave the folder.
        inside = {name: form for name, form in forms.items() if ".." not in form.split("/")}
        spelled = {name: self._spelled(form.removeprefix(prefix)) for name, form in inside.items()}
        return {name: known for name, known in spelled.items() if known is not None}

    def _prefix(self, form: str) -> str | None:
        """Return the folder in front of an ID in a path, with its last slash; None if there is none."""
        parts = form.split("/")
        for place in range(1, min(len(parts), 64)):
            if self._spelled("/".join(parts[place:])) is not None:
                return "/".join(parts[:place]) + "/"
        return None

    def _spelled(self, form: str) -> str | None:
        short = _without_ending(form)
        return self._whole.get(form) or self._without_ending.get(short) or self._base.get(short)

    @cached_property
    def _whole(self) -> dict[str, str | None]:
        return _by_form((_form(name), name) for name in self.names)

    @cached_property
    def _without_ending(self) -> dict[str, str | None]:
        return _by_form((_without_ending(_form(name)), name) for name in self.names)

    @cached_property
    def _base(self) -> dict[str, str | None]:
        return _by_form((_without_ending(_form(name)).rpartition("/")[2], name) for name in self.names)


def _form(name: str) -> str:
    return (name if name.isascii() else unicodedata.normalize("NFC", name)).replace("\\", "/")


def _end(names: pl.Expr) -> pl.Expr:
    """Return the part after the last slash, without a file name extension."""
    return names.str.replace_all(r"^.*[/\\]", "").str.replace(_ENDING.pattern, "")


def _without_ending(form: str) -> str:
    return _ENDING.sub("", form)


def _by_form(pairs: Iterable[tuple[str, str]]) -> dict[str, str | None]:
    table: dict[str, str | None] = {}
    for form, name in pairs:
        table[form] = None if form in table else name  # a form that two IDs share spells neither of them
    return table


def check_id(name: object) -> None:
    """Check that an ID is a plain file name, which stays in a folder when it is joined to it.

    >>> check_id("pump-7 2024.01")
    >>> check_id("../x")
    Traceback (most recent call last):
    tailfit.errors.DataError: Received ID '../x'. Expected ...
    """
    fix = "use names without folders as IDs, and strings instead of numbers: '7', not 7"
    check_name(name, "ID", fix)
    if name in ("", ".", "..") or re.search(r"[/\\]|^[A-Za-z]:", str(name)):
        raise DataError(f"ID {name!r}", expected="a non-empty name without path separators, drive or NUL", fix=fix)


def id_column(rows: Rows, known: KnownIDs, what: str, id: str | None = None) -> tuple[str, pl.Series]:
    """Find the column of a table that contains the IDs.

    Args:
        rows: The table.
        known: The IDs of the samples.
        what: Name of the table in messages.
        id: Name of the column if the user passed it.
    Returns:
        The column's name, and its values as known IDs, null for values that match no sample. If no column contains
        every ID exactly once, and without `id`, it is the column with the most IDs.
    Raises:
        DataError: If several columns contain every ID in different orders, or no column contains any.

    >>> frame = pl.DataFrame({"site": ["A", "B"], "run": ["r2", "r1"]})
    >>> name, ids = id_column(Rows(frame, frame), KnownIDs(["r1", "r2"]), "metadata")
    >>> name, ids.to_list()
    ('run', ['r2', 'r1'])
    """
    if id is not None:
        text = rows.text(id)
        if text is None:
            raise DataError(
                f"{what} with IDs of type {rows.frame[id].dtype} in column {id!r}",
                expected="a column of text or whole numbers",
                fix="pass the name of such a column as id=",
            )
        return id, known.resolved(text)
    numbers = row_numbers(rows)
    columns = ((name, rows.text(name)) for name in rows.frame.columns if name not in numbers)
    texts = {name: text for name, text in columns if text is not None}
    resolved = {name: known.resolved(text) for name, text in texts.items() if known.may_all_be_in(text)}
    matched = {name: ids.drop_nulls() for name, ids in resolved.items()}
    complete = [name for name, ids in matched.items() if len(ids) == ids.n_unique() == len(known)]
    called_id = [name for name in texts if name.lower() == "id"]
    preferred = [name for name in complete if name in called_id]
    if len(preferred) == 1:
        return preferred[0], resolved[preferred[0]]
    if complete:
        first = complete[0]
        for other in complete[1:]:
            if not resolved[other].equals(resolved[first], null_equal=True):
                raise DataError(
                    f"{what} whose columns {first!r} and {other!r} both contain every ID, in different orders",
                    expected="one column of IDs",
                    fix=f"pass id={first!r} or id={other!r}, or rename one of the columns to 'id'",
                )
        return first, resolved[first]
    # No column is complete. Choose the one that the user probably meant, so that the error about the missing IDs names
    # it.
    resolved = {name: known.resolved(text) for name, text in texts.items()}
    matched = {name: ids.drop_nulls() for name, ids in resolved.items()}
    best = max(resolved, key=lambda name: matched[name].n_unique(), default="")
    if called_id and 2 * matched[best].n_unique() <= len(known):
        best = called_id[0]
    elif best not in matched or not len(matched[best]):
        raise _no_ids(rows, known, what)
    return best, resolved[best]


def row_numbers(rows: Rows) -> list[str]:
    """Return the columns that are the saved row numbers of a data frame: unnamed, and counted from 0 or 1.

    >>> frame = pl.DataFrame({"Unnamed: 0": [0, 1], "run": [0, 1]})
    >>> row_numbers(Rows(frame, frame))
    ['Unnamed: 0']
    """
    size = rows.frame.height
    counts = [pl.Series(range(first, first + size), dtype=pl.Int64).cast(pl.String) for first in (0, 1)]
    candidates = ((name, rows.text(name)) for name in rows.frame.columns if may_number_rows(name))
    return [name for name, text in candidates if size and text is not None and any(map(text.equals, counts))]


def _no_ids(rows: Rows, known: KnownIDs, what: str) -> DataError:
    received = f"{what} with {columns_of(rows)}, none of which contains an ID of the {len(known)} samples"
    expected, fix = "a column of sample IDs", "add a column with the IDs of the samples"
    if len(known):
        expected += f", such as {known.names[0]!r}"
    texts = ((name, rows.text(name)) for name in rows.frame.columns)
    for name, text in texts:
        value = None if text is None else known.without_zeros(text)
        if value is not None:
            fix += f"; if {value!r} in {name!r} lost leading zeros, save or read that column as text"
            break
    for name in row_numbers(rows):
        received += f" ({name!r} contains a data frame's row numbers)"
        fix += f"; if the row numbers are the IDs, pass id={name!r}"
    return DataError(received, expected=expected, fix=fix)


def columns_of(rows: Rows) -> str:
    """Return the column names of a table for messages; only the first ones if there are many."""
    names = rows.frame.columns
    more = f" and {len(names) - _MAX_SHOWN} more" if len(names) > _MAX_SHOWN else ""
    return f"the columns {names[:_MAX_SHOWN]}{more}"


def checked_id_column(id: str | None, *tables: Rows | None) -> str | None:
    """Check that one of the tables has the ID column that the user named; return its name.

    Raises:
        ArgumentError: If no table has it.
    """
    given = [table for table in tables if table is not None]
    if id is not None and not any(id in table.frame.columns for table in given):
        where = f" for tables with {' and '.join(map(columns_of, given))}" if given else " without a table"
        raise ArgumentError(
            f"id={id!r}{where}",
            expected="the name of a column of the labels or the metadata",
            fix="correct the name" if given else "drop id=, or pass a table",
        )
    return id
