"""IDs, and which row of a table belongs to which sample.

One rule holds for every table that belongs to records (labels, metadata, probabilities):

- the ID column is the one whose *values* are the known IDs, each of them once, whatever its name and place;
- or the one that the user names (`id="run"`);
- of several such columns that would order the rows differently, the one called `id` (or `ID`, `Id`); else the table is
  refused. A data frame's row numbers are never taken for IDs, unless they are named;
- rows are matched by position only where the samples have no IDs but their own row numbers (`Numbered`), and no
  column is called `id`.

IDs are compared as text: `001` is not `1`. A value that is no known ID is taken for the one ID that it spells in
another way: with or without the file's ending (`001.npy`), with or without a folder (`data/001`, `data\\001`; one
folder for all), or with accents composed differently (NFC, NFD).
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

__all__ = ["KnownIDs", "Numbered", "check_id", "columns_of", "id_column", "row_numbers", "told_column"]

_ENDING = re.compile(r"(?i)(?:" + "|".join(map(re.escape, (".npy", *SUFFIXES))) + ")$")

_SHOWN = 20  # names in a message


class Numbered(Sequence[str]):
    """The IDs "0", "1", ... of samples that have none, without keeping n strings.

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
        if not (isinstance(name, str) and name.isdecimal() and len(name) < 20):  # Python reads none of 5,000 digits
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
    """The IDs of some samples, and what else they may be written as.

    >>> KnownIDs(["001", "002"]).spellings(["001.npy", "data\\\\002", "3"])
    {'001.npy': '001', 'data\\\\002': '002'}
    """

    def __init__(self, ids: Iterable[str]) -> None:
        self.names: Final = pl.Series("id", list(ids), dtype=pl.String)

    def __len__(self) -> int:
        return len(self.names)

    def may_all_be_in(self, written: pl.Series) -> bool:
        """Whether three of the IDs are in a column, however spelled: columns of measurements are passed over fast."""
        probes = [self.names[place] for place in {0, len(self) // 2, len(self) - 1}] if len(self) else []
        ends = [_without_ending(probe).rpartition("/")[2] for probe in probes if probe.isascii() and "\\" not in probe]
        return all(written.str.contains(end, literal=True).any() for end in ends)

    def without_zeros(self, written: pl.Series) -> str | None:
        """A value that is an ID but for leading zeros, which a spreadsheet, or a column read as numbers, drops."""
        stripped = self.names.str.strip_chars_start("0").to_frame()
        values = written.rename("written").to_frame().with_columns(id=pl.col("written").str.strip_chars_start("0"))
        found = values.drop_nulls().join(stripped, on="id", how="semi", maintain_order="left")
        return str(found["written"][0]) if found.height else None

    def resolved(self, written: pl.Series) -> pl.Series:
        """Map each value to the ID that it is or spells; null where it spells no ID."""
        distinct = written.rename("written").drop_nulls().unique(maintain_order=True).to_frame()
        known = self.names.to_frame()
        # Joins, not is_in: what that compares with changed between versions of polars.
        exact = distinct.join(known, left_on="written", right_on="id", how="semi").with_columns(id=pl.col("written"))
        others = distinct.join(known, left_on="written", right_on="id", how="anti")["written"]
        spelled = self.spellings(self._likely(others).to_list())
        if spelled:
            columns = {"written": list(spelled), "id": list(spelled.values())}
            exact = pl.concat([exact, pl.DataFrame(columns, schema=exact.schema)])
        return written.rename("written").to_frame().join(exact, on="written", how="left", maintain_order="left")["id"]

    def _likely(self, others: pl.Series) -> pl.Series:
        """Those that end as an ID does, or are not ASCII: a column of a million measurements is passed over at once."""
        ends = others.to_frame("written").with_columns(end=_end(pl.col("written")))
        maybe = ends.join(self._ends, on="end", how="semi", maintain_order="left")["written"]
        accented = others.filter(others.str.len_bytes() != others.str.len_chars())
        return pl.concat([maybe, accented]).unique(maintain_order=True)

    @cached_property
    def _ends(self) -> pl.DataFrame:
        return self.names.to_frame("written").select(end=_end(pl.col("written"))).unique()

    def spellings(self, names: Iterable[str]) -> dict[str, str]:
        """Map names that are not IDs to the IDs they spell; names that spell no ID are left out."""
        forms = {name: _form(name) for name in names}
        prefix = next((found for form in forms.values() if (found := self._prefix(form)) is not None), "")
        # What leaves a folder is nobody's name, whatever stands at its end.
        inside = {name: form for name, form in forms.items() if ".." not in form.split("/")}
        spelled = {name: self._spelled(form.removeprefix(prefix)) for name, form in inside.items()}
        return {name: known for name, known in spelled.items() if known is not None}

    def _prefix(self, form: str) -> str | None:
        """What stands before an ID in a path, up to the last slash; None where that is nothing."""
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
    """What stands after the last slash, without a file's ending."""
    return names.str.replace_all(r"^.*[/\\]", "").str.replace(_ENDING.pattern, "")


def _without_ending(form: str) -> str:
    return _ENDING.sub("", form)


def _by_form(pairs: Iterable[tuple[str, str]]) -> dict[str, str | None]:
    table: dict[str, str | None] = {}
    for form, name in pairs:
        table[form] = None if form in table else name  # two IDs of one form: it spells neither
    return table


def check_id(name: object) -> None:
    """Refuse an ID that is not a plain file name: joined to a folder, it must stay in it.

    >>> check_id("pump-7 2024.01")
    >>> check_id("../x")
    Traceback (most recent call last):
    tailfit.errors.DataError: Received ID '../x'. Expected ...
    """
    fix = "name the records without folders; IDs are strings, '7' and not 7"
    check_name(name, "ID", fix)
    if name in ("", ".", "..") or re.search(r"[/\\]|^[A-Za-z]:", str(name)):
        raise DataError(f"ID {name!r}", expected="a non-empty name without path separators, drive or NUL", fix=fix)


def id_column(rows: Rows, known: KnownIDs, what: str, id: str | None = None) -> tuple[str, pl.Series]:
    """The column of a table that holds the IDs.

    Args:
        rows: The table.
        known: The IDs there are.
        what: How messages call the table.
        id: The column's name, where the user tells it.
    Returns:
        Its name, and its values as known IDs, null where they are of no sample. Without `id`, and where no column has
        every ID once, it is the one that has the most of them.
    Raises:
        DataError: if several columns have every ID, in different orders; if none has any.

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
                expected="text or whole numbers",
                fix="name another column by id=",
            )
        return id, known.resolved(text)
    numbers = row_numbers(rows)
    columns = ((name, rows.text(name)) for name in rows.frame.columns if name not in numbers)
    texts = {name: text for name, text in columns if text is not None}
    found = {name: known.resolved(text) for name, text in texts.items() if known.may_all_be_in(text)}
    held = {name: ids.drop_nulls() for name, ids in found.items()}
    whole = [name for name, ids in held.items() if len(ids) == ids.n_unique() == len(known)]
    hinted = [name for name in texts if name.lower() == "id"]
    named = [name for name in whole if name in hinted]
    if len(named) == 1:
        return named[0], found[named[0]]
    if whole:
        first = whole[0]
        for other in whole[1:]:
            if not found[other].equals(found[first], null_equal=True):
                raise DataError(
                    f"{what} whose columns {first!r} and {other!r} both hold every ID, in different orders",
                    expected="one column of IDs",
                    fix=f"pass id={first!r} or id={other!r}, or rename one of them to 'id'",
                )
        return first, found[first]
    # None: the error of what is missing should name the column that the user means.
    found = {name: known.resolved(text) for name, text in texts.items()}
    held = {name: ids.drop_nulls() for name, ids in found.items()}
    best = max(found, key=lambda name: held[name].n_unique(), default="")
    if hinted and 2 * held[best].n_unique() <= len(known):
        best = hinted[0]
    elif best not in held or not len(held[best]):
        raise _no_ids(rows, known, what)
    return best, found[best]


def row_numbers(rows: Rows) -> list[str]:
    """The columns that are the row numbers which a data frame was saved with: unnamed, and counted from 0 or 1.

    >>> frame = pl.DataFrame({"Unnamed: 0": [0, 1], "run": [0, 1]})
    >>> row_numbers(Rows(frame, frame))
    ['Unnamed: 0']
    """
    size = rows.frame.height
    counts = [pl.Series(range(first, first + size), dtype=pl.Int64).cast(pl.String) for first in (0, 1)]
    candidates = ((name, rows.text(name)) for name in rows.frame.columns if may_number_rows(name))
    return [name for name, text in candidates if size and text is not None and any(map(text.equals, counts))]


def _no_ids(rows: Rows, known: KnownIDs, what: str) -> DataError:
    received = f"{what} with {columns_of(rows)}, none of which holds an ID of the {len(known)} samples"
    expected, fix = "a column of their IDs", "add a column of the IDs"
    if len(known):
        expected += f", such as {known.names[0]!r}"
    texts = ((name, rows.text(name)) for name in rows.frame.columns)
    for name, text in texts:
        value = None if text is None else known.without_zeros(text)
        if value is not None:
            fix += f"; if {value!r} in {name!r} lost leading zeros, save or read that column as text"
            break
    for name in row_numbers(rows):
        received += f" ({name!r} is a data frame's row numbers)"
        fix += f"; if the row numbers are the IDs, say so by id={name!r}"
    return DataError(received, expected=expected, fix=fix)


def columns_of(rows: Rows) -> str:
    """The columns of a table, for messages; of many the first."""
    names = rows.frame.columns
    return f"the columns {names[:_SHOWN]}" + (f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else "")


def told_column(id: str | None, *tables: Rows | None) -> str | None:
    """The name of the ID column that the user gave, which one of the tables has at least.

    Raises:
        ArgumentError: if none has it.
    """
    given = [table for table in tables if table is not None]
    if id is not None and not any(id in table.frame.columns for table in given):
        where = f" for tables with {' and '.join(map(columns_of, given))}" if given else " without a table"
        raise ArgumentError(
            f"id={id!r}{where}",
            expected="a column of the labels or the metadata",
            fix="correct the name" if given else "leave it out",
        )
    return id
