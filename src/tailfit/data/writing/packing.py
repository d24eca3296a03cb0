"""Writer of packed folders, shard by shard, so that an interrupted run can be resumed."""

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
from tailfit.errors import ArgumentError, DataError, RecordError
from tailfit.storage.disk import Disk
from tailfit.storage.json_text import read_object
from tailfit.storage.reading import digest_of
from tailfit.storage.writing import Draft, remove_abandoned, write_text

__all__ = ["pack"]

_READ_SIZE = 1 << 23  # bytes read from the source at once
_MAX_STATE_BYTES = 1 << 28  # of state.json
_Lengths = NDArray[np.int64] | None


def pack(
    source: Source,
    out: str | PathLike[str],
    *,
    shard_bytes: int = 1 << 28,
    progress: Callable[[int, int], None] | None = None,
) -> None:
    """Write a source as plain `.npy` shards and a Parquet index, which `tailfit.data.Packed` reads.

    Shards are written to `.<name>.partial` next to the target, each one synced and renamed when it is complete. After a
    crash, the same call resumes after the last complete shard. The finished folder is renamed to `out`.

    Args:
        source: Any source; labels, class names, metadata, groups and labels of steps are written, too.
        out: Folder to create.
        shard_bytes: Approximate size of a shard, which contains at least one record.
        progress: Function called as `progress(samples_written, samples)` after each read.
    Raises:
        ArgumentError: If `out` exists, or the unfinished folder belongs to a different source.
        DataError: If a record can't be read, or differs from the first one in shape or dtype (in a ragged source except
            for its length); the message names its ID.

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
            expected="a tailfit.data.Source",
            fix="wrap arrays as tailfit.data.Arrays(x, y)",
        )
    target = Path(os.path.abspath(fspath(out)))
    if target.exists() or target.is_symlink():
        raise ArgumentError(
            f"the existing path {target}",
            expected="a folder that does not exist yet",
            fix="choose a different path, or delete the folder",
        )
    whole_number("shard_bytes", shard_bytes, least=1)
    if not len(source):
        raise DataError(f"{source!r}", expected="a source with at least one sample", fix="check its files")
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
        group_by=None if source.grouping is None else source.grouping.by,
        step_labels=bool(source._step_classes),
        keeps_missing=source.keeps_missing,
        channels=source.channels,
        step_seconds=source.step_seconds,
    )
    manifest = replace(manifest, rows=max(1, shard_bytes // max(manifest.record_bytes, 1)))
    folder = target.with_name(f".{target.name}.partial")
    fingerprint = _fingerprint(source, manifest, lengths)
    names = [[file_name(leaf, shard) for leaf in range(len(leaves))] for shard in range(manifest.shards)]
    digests = _resumed(folder, fingerprint, set(itertools.chain(*names)))
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


def _resumed(folder: Path, fingerprint: str, names: Collection[str]) -> dict[str, str]:
    """Return the digests of the unchanged files of an earlier call; create the folder if it does not exist.

    Raises:
        ArgumentError: If the folder belongs to a different source.
        RecordError: If the state of the earlier call is damaged.
    """
    (folder / "data").mkdir(parents=True, exist_ok=True)
    state = folder / "state.json"
    remove_abandoned(folder)  # also that of a first state.json, which would come into the packed set
    if not os.path.lexists(state):
        _write_state(folder, fingerprint, {})
        return {}
    restart = "delete the folder to start again"
    try:
        earlier = read_object(state, _MAX_STATE_BYTES)
    except RecordError as error:
        raise RecordError(error.received, expected="the state of an unfinished packing", fix=restart) from error
    if earlier.get("source") != fingerprint or not isinstance(earlier.get("digests"), dict):
        raise ArgumentError(
            f"the unfinished folder {folder} of a different source or shard_bytes",
            expected="the same source and shard_bytes, to resume packing",
            fix=f"{restart}, or pass the same arguments",
        )
    written = {name: folder / "data" / name for name in names if os.path.lexists(folder / "data" / name)}
    digests = {name: str(digest_of(path)["sha256"]) for name, path in written.items()}
    return {name: digest for name, digest in digests.items() if earlier["digests"].get(name) == digest}


def _write_state(folder: Path, fingerprint: str, digests: dict[str, str]) -> None:
    write_text(folder / "state.json", json.dumps({"format": FORMAT, "source": fingerprint, "digests": digests}))


def _fingerprint(source: Source, manifest: Manifest, lengths: _Lengths) -> str:
    digest = hashlib.sha256(repr((len(source), manifest.rows, manifest.leaves, source.class_names)).encode())
    if lengths is not None:
        digest.update(lengths.tobytes())
    for name in source.ids:
        digest.update(name.encode() + b"\0")
    if source.labels is not None:
        digest.update(np.ascontiguousarray(source.labels).tobytes())
    for labels in _step_labels(source):
        digest.update(labels.tobytes())
    return digest.hexdigest()


def _write_shard(
    folder: Path,
    source: Source,
    manifest: Manifest,
    lengths: _Lengths,
    shard: int,
    progress: Callable[[int, int], None] | None,
) -> dict[str, str]:
    start, stop = shard * manifest.rows, shard * manifest.rows + manifest.rows_of(shard)
    together = max(1, _READ_SIZE // max(manifest.record_bytes, 1))
    names = [file_name(leaf, shard) for leaf in range(len(manifest.leaves))]
    with contextlib.ExitStack() as drafts:
        files = [_Hashed(drafts.enter_context(Draft(folder / "data" / name, sweep=False))) for name in names]
        for file, leaf in zip(files, manifest.leaves, strict=True):
            rows = int(lengths[start:stop].sum()) if leaf.ragged and lengths is not None else stop - start
            _write_header(file, leaf, rows)
        for indices in index_chunks(start, stop, together):
            batch = _read_leaves(source, manifest, indices)
            for file, leaf, array in zip(files, manifest.leaves, batch, strict=True):
                body = array.values if isinstance(array, Ragged) else array
                file.write(np.ascontiguousarray(body, dtype=leaf.dtype).tobytes())
            if progress is not None:
                progress(int(indices[-1]) + 1, len(source))
        for file in files:
            file.draft.place()
    return {name: file.digest.hexdigest() for name, file in zip(names, files, strict=True)}


class _Hashed:
    """A file with the digest of what is written to it."""

    def __init__(self, draft: Draft) -> None:
        self.draft, self.digest = draft, hashlib.sha256()

    def write(self, content: bytes) -> int:
        self.digest.update(content)
        return self.draft.file.write(content)


def _write_header(file: _Hashed, leaf: Leaf, rows: int) -> None:
    header = {"descr": np.lib.format.dtype_to_descr(leaf.dtype), "fortran_order": False, "shape": (rows, *leaf.shape)}
    np.lib.format.write_array_header_1_0(file, header)


def _read_leaves(source: Source, manifest: Manifest, indices: NDArray[np.int64]) -> list[Any]:
    """Read the arrays of some records, in the order of the manifest's leaves."""
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
            f"{found} in the records from ID {source.ids[int(indices[0])]!r} on",
            expected=f"{list(manifest.leaves)} as in the first record",
            fix="convert all records to one shape and dtype",
        )
    return arrays


def _step_labels(source: Source) -> list[NDArray[np.int32]]:
    """Return the labels of the steps of each record; empty if steps have no labels."""
    found = (source.step_labels(index) for index in range(len(source) if source._step_classes else 0))
    return [labels for labels in found if labels is not None]


def _index(source: Source, lengths: _Lengths) -> pl.DataFrame:
    columns: dict[str, Any] = {"id": pl.Series(list(source.ids), dtype=pl.String)}
    if lengths is not None:
        columns["steps"] = pl.Series(lengths)
    if source.labels is not None:
        columns["label"] = pl.Series(source.labels.tolist())
    if source.grouping is not None:
        present, codes = np.unique(source.grouping.codes, return_inverse=True)
        columns["group"] = codes.reshape(-1).astype(np.int64)
        columns["group_name"] = np.array(source.grouping.names, dtype=object)[present][columns["group"]].tolist()
    if source._step_classes:
        # Cast, because polars makes arrays of lists that all have one length.
        columns["step_labels"] = pl.Series(_step_labels(source), dtype=pl.List(pl.Int32)).cast(pl.List(pl.Int32))
    frame = pl.DataFrame(columns)
    if source.metadata is not None:
        renamed = source.metadata.drop("id").rename(lambda name: f"metadata.{name}")
        frame = pl.concat([frame, renamed], how="horizontal")
    return frame
