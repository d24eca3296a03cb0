"""Predictions in parts, so that a killed prediction continues; the file at the final path is always whole.

    .predictions.parquet.parts/        next to predictions.parquet, removed when that is written
      lock                             locked by the process that predicts
      claim.json                       run, data and options; parts of anything else are removed
      000000000000-000000131072-17     rows of these positions, 17 of them without a decision

Each part is written as a draft and renamed, so a part that exists is whole. Parts must follow each other without a gap.
"""

import contextlib
import json
import re
import shutil
import stat
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, NamedTuple

import polars as pl

from tailfit.errors import DataError
from tailfit.recipes.prediction_table import Format
from tailfit.resume.lock import Lock
from tailfit.storage.json_text import read_json
from tailfit.storage.reading import check_replaceable, open_regular
from tailfit.storage.writing import Draft, is_draft, make_folder, write_parts, write_text

__all__ = ["Parts", "parts_of"]

_PART: Final = re.compile(r"(\d{12})-(\d{12})-(\d+)")
_CLAIM: Final = "claim.json"
_MOST_CLAIM: Final = 1 << 20


class _Part(NamedTuple):
    name: str
    stop: int
    abstained: int


class Parts:
    """The parts of one output; made by `parts_of`, which locks them.

    Args:
        target: Path of the output.
        folder: Folder of the parts.
        format: Format of the output.
    """

    def __init__(self, target: Path, folder: Path, format: Format) -> None:
        self.target: Final = target
        self._folder: Final = folder
        self._format: Final = format

    @property
    def done(self) -> int:
        """Number of rows that are in parts already."""
        return max((part.stop for part in self._consecutive()), default=0)

    def add(self, start: int, stop: int, abstained: int, content: bytes) -> None:
        """Write the rows from `start` to before `stop`, of which some are without a decision."""
        write_parts(self._folder / f"{start:012d}-{stop:012d}-{abstained}", [content], sweep=False)

    def finish(self) -> int:
        """Join the parts to the output, which appears whole, remove them, and return the rows without a decision."""
        found = self._consecutive()
        paths = [self._folder / part.name for part in found]
        with Draft(self.target) as draft:
            if self._format == "parquet":
                try:
                    pl.scan_parquet(paths).sink_parquet(draft.path)
                except pl.exceptions.PolarsError as error:
                    raise OSError(f"{self.target}: {error}") from error
            else:
                for path in paths:
                    with open_regular(path) as part:
                        shutil.copyfileobj(part, draft.file)
            draft.place()
        shutil.rmtree(self._folder, ignore_errors=True)
        return sum(part.abstained for part in found)

    def _consecutive(self) -> list[_Part]:
        """Return the parts that follow each other from row 0."""
        files = [entry for entry in self._folder.iterdir() if stat.S_ISREG(entry.lstat().st_mode)]
        matched = [_PART.fullmatch(entry.name) for entry in files]
        found = {int(match[1]): _Part(match[0], int(match[2]), int(match[3])) for match in matched if match is not None}
        parts: list[_Part] = []
        while (start := parts[-1].stop if parts else 0) in found and found[start].stop > start:
            parts.append(found[start])
        return parts

    def keep_only(self, claim: Mapping[str, Any]) -> None:
        """Remove drafts, and all parts if they belong to another claim."""
        same = False
        with contextlib.suppress(DataError):  # missing, or not written by tailfit
            same = read_json(self._folder / _CLAIM, _MOST_CLAIM) == claim
        for entry in list(self._folder.iterdir()):
            if is_draft(entry.name) or (not same and _PART.fullmatch(entry.name)):
                entry.unlink()
        if not same:
            write_text(self._folder / _CLAIM, json.dumps(claim, allow_nan=False))


@contextmanager
def parts_of(target: Path, format: Format, claim: Mapping[str, Any]) -> Iterator[Parts]:
    """Lock the parts of an output, and remove those of a different claim.

    Args:
        target: Path of the output.
        format: Its format.
        claim: What is predicted, as JSON: run, data, options.
    Raises:
        CheckpointError: If another process writes the same output.
        RecordError: If something other than a file is at the path.
        OSError: If the folder can't be created.
    """
    check_replaceable(target)
    folder = target.with_name(f".{target.name}.parts")
    make_folder(folder)
    lock = Lock(folder)
    try:
        parts = Parts(target, folder, format)
        parts.keep_only(claim)
        yield parts
    finally:
        lock.release()
