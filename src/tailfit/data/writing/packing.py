"""Writing a source as a packed folder: shard by shard, so that a run that was cut off goes on where it ended."""

import contextlib
import hashlib
import itertools
import json
import os
from collections.abc import Callable, Collection
from dataclasses import replace
from os import PathLike, fspath
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from tailfit.arguments import whole_number
from tailfit.data.records.ragged import Ragged
from tailfit.data.records.trees import leaves as leaves_of
from tailfit.data.source import Source, index_chunks
from tailfit.data.sources.packed_format import FORMAT, Leaf, Manifest, describe, file_name, ordered_leaves
from tailfit.errors import ArgumentError, DataError
from tailfit.storage.disk import Disk
from tailfit.storage.json_text import read_object
from tailfit.storage.reading import digest_of
from tailfit.storage.writing import Draft, remove_abandoned, write_text

__all__ = ["pack"]

_READ = 1 << 23  # bytes read from the source at once
_MOST_STATE = 1 << 28  # bytes of state.json
_Lengths = NDArray[np.int64] | None


def pack(
    source: Source,
    out: str | PathLike[str],
    *,
    shard_bytes: int = 1 << 28,
    progress: Callable[[int, int], None] | None = None,
) -> None:
    """Write a source as plain `.npy` shards and a Parquet index, which `tailfit.data.Packed` reads.

    Shards are written beside the target, in `.<name>.partial`, each one synced and renamed when it is whole. After a
    crash the same call goes on after the last whole shard; the finished folder is renamed to `out` at the end.

    Args:
        source: Any source; its labels, class names and metadata go with it.
        out: The folder to be made.
        shard_bytes: Size of a shard, about; a shard holds one record at least.
        progress: Called with (samples written, samples in all) after each read.
    Raises:
        ArgumentError: if `out` exists, or what was begun there is of another source.
        DataError: for records whose shape or type differ from the first one's (their lengths may, of a ragged source);
            or an unreadable one, named.

    >>> import tempfile, tailfit
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     pack(tailfit.data.Arrays(np.eye(3), ["ok", "leak", "ok"]), f"{folder}/pumps")
    ...     packed = tailfit.data.Packed(f"{folder}/pumps")
    ...     packed, packed.read([2]).tolist(), packed.class_names
    (<Packed: 3 samples, 2 classes>, [[0.0, 0.0, 1.0]], ('leak', 'ok'))
    """
    if not isinstance(source, Source):
        raise ArgumentError(
            f"a source of type {type(source).__name__}",
            expected="a source",
            fix="wrap arrays: tailfit.data.Arrays(x, y)",
        )
    target = Path(os.path.abspath(fspath(out)))
    if target.exists() or target.is_symlink():
        raise ArgumentError(
            f"{target}, which exists", expected="a folder that does not exist yet", fix="choose another"
        )
    whole_number("shard_bytes", shard_bytes, least=1)
    if not len(source):
        raise DataError(f"{source!r}", expected="a source with samples", fix="check its files")
    first = source.read([0])
    leaves = tuple(Leaf.of(leaf) for _, leaf in leaves_of(first))
    lengths = source.lengths
    manifest = Manifest(
        samples=len(source),
        rows=1,
        tree=describe(first, itertools.count()),
        leaves=leaves,
        labels=source.label_kind,
        class_names=source.class_names,
        digests={},
        steps=0 if lengths is None else int(lengths.sum()),
    )
    manifest = replace(manifest, rows=max(1, shard_bytes // max(manifest.record_bytes, 1)))
    folder = target.with_name(f".{target.name}.partial")
    fingerprint = _fingerprint(source, manifest, lengths)
    names = [[file_name(leaf, shard) for leaf in range(len(leaves))] for shard in range(manifest.shards)]
    digests = _begun(folder, fingerprint, set(itertools.chain(*names)))
    manifest = replace(manifest, digests=digests)
    for shard in range(manifest.shards):
        if not all(name in digests for name in names[shard]):
            digests.update(_write_shard(folder, source, manifest, lengths, shard, progress))
            _write_state(folder, fingerprint, digests)
        elif progress is not None:
            progress(min((shard + 1) * manifest.rows, len(source)), len(source))
    with Draft(folder / "index.parquet") as draft:
        _index(source, lengths).write_parquet(draft.file)
        draft.place()
    manifest.write(folder / "pack.json")
    (folder / "state.json").unlink()
    disk = Disk()
    disk.sync_folder(folder)
    disk.rename(folder, target)
    disk.sync_folder(target.parent)


def _begun(folder: Path, fingerprint: str, names: Collection[str]) -> dict[str, str]:
    """Find the files of an earlier call that are as it left them, with their digests; make the folder if there is none.

    Raises:
        ArgumentError: it was begun for another source.
        RecordError: its state is damaged.
    """
    (folder / "data").mkdir(parents=True, exist_ok=True)
    state = folder / "state.json"
    if not os.path.lexists(state):
        _write_state(folder, fingerprint, {})
        return {}
    remove_abandoned(folder)
    begun = read_object(state, _MOST_STATE)
    if begun.get("source") != fingerprint or not isinstance(begun.get("digests"), dict):
        raise ArgumentError(
            f"{folder}, in which another source, or another shard_bytes, was begun to be packed",
            expected="the same source to go on with",
            fix="delete the folder to begin anew",
        )
    written = {name: folder / "data" / name for name in names if os.path.lexists(folder / "data" / name)}
    digests = {name: str(digest_of(path)["sha256"]) for name, path in written.items()}
    return {name: digest for name, digest in digests.items() if begun["digests"].get(name) == digest}


def _write_state(folder: Path, fingerprint: str, digests: dict[str, str]) -> None:
    write_text(folder / "state.json", json.dumps({"format": FORMAT, "source": fingerprint, "digests": digests}))


def _fingerprint(source: Source, manifest: Manifest, lengths: _Lengths) -> str:
    known = hashlib.sha256(repr((len(source), manifest.rows, manifest.leaves, source.class_names)).encode())
    if lengths is not None:
        known.update(lengths.tobytes())
    for name in source.ids:
        known.update(name.encode() + b"\0")
    if source.labels is not None:
        known.update(np.ascontiguousarray(source.labels).tobytes())
    return known.hexdigest()


def _write_shard(
    folder: Path,
    source: Source,
    manifest: Manifest,
    lengths: _Lengths,
    shard: int,
    progress: Callable[[int, int], None] | None,
) -> dict[str, str]:
    start, stop = shard * manifest.rows, shard * manifest.rows + manifest.rows_of(shard)
    together = max(1, _READ // max(manifest.record_bytes, 1))
    names = [file_name(leaf, shard) for leaf in range(len(manifest.leaves))]
    with contextlib.ExitStack() as drafts:
        files = [_Hashed(drafts.enter_context(Draft(folder / "data" / name))) for name in names]
        for file, leaf in zip(files, manifest.leaves, strict=True):
            rows = int(lengths[start:stop].sum()) if leaf.ragged and lengths is not None else stop - start
            _write_header(file, leaf, rows)
        for indices in index_chunks(start, stop, together):
            batch = _listed(source, manifest, indices)
            for file, leaf, array in zip(files, manifest.leaves, batch, strict=True):
                body = array.values if isinstance(array, Ragged) else array
                file.write(np.ascontiguousarray(body, dtype=leaf.dtype).tobytes())
            if progress is not None:
                progress(int(indices[-1]) + 1, len(source))
        for file in files:
            file.draft.place()
    return {name: file.digest.hexdigest() for name, file in zip(names, files, strict=True)}


class _Hashed:
    """A file that is written, and the digest of what was."""

    def __init__(self, draft: Draft) -> None:
        self.draft, self.digest = draft, hashlib.sha256()

    def write(self, content: bytes) -> int:
        self.digest.update(content)
        return self.draft.file.write(content)


def _write_header(file: _Hashed, leaf: Leaf, rows: int) -> None:
    header = {"descr": np.lib.format.dtype_to_descr(leaf.dtype), "fortran_order": False, "shape": (rows, *leaf.shape)}
    np.lib.format.write_array_header_1_0(file, header)


def _listed(source: Source, manifest: Manifest, indices: NDArray[np.int64]) -> list[Any]:
    """The arrays of some records, in the order of the manifest's leaves."""
    records = source.read(indices)
    arrays: list[Any] = []
    found: list[Leaf] | ValueError
    try:
        arrays = ordered_leaves(manifest.tree, records)
        found = [Leaf.of(array) for array in arrays]
    except ValueError as error:
        found = error
    if found != list(manifest.leaves):
        raise DataError(
            f"the records of ID {source.ids[int(indices[0])]!r} and after: {found}",
            expected=f"{list(manifest.leaves)} as in the first",
            fix="bring all records to one shape and type",
        )
    return arrays


def _index(source: Source, lengths: _Lengths) -> pl.DataFrame:
    columns: dict[str, Any] = {"id": pl.Series(list(source.ids), dtype=pl.String)}
    if lengths is not None:
        columns["steps"] = pl.Series(lengths)
    if source.labels is not None:
        columns["label"] = pl.Series(source.labels.tolist())
    frame = pl.DataFrame(columns)
    if source.metadata is not None:
        renamed = source.metadata.drop("id").rename(lambda name: f"metadata.{name}")
        frame = pl.concat([frame, renamed], how="horizontal")
    return frame
