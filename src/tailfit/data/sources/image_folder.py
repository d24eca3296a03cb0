"""A folder of images as a source: one folder per class or labels by file, decoded by several threads."""

import os
from collections.abc import Sequence
from os import PathLike
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from tailfit.data.files.images import SUFFIXES, Decoder, Mode
from tailfit.data.files.reading import absolute, files_in
from tailfit.data.source import Source
from tailfit.data.tables.labels import Labels, tables_of_files
from tailfit.data.tables.metadata import Metadata
from tailfit.errors import ArgumentError, DataError
from tailfit.labels import encode
from tailfit.storage.reading import read_within

__all__ = ["SUFFIXES", "ImageFolder"]

_MAX_BYTES = 1 << 30  # of a file


class ImageFolder(Source):
    """Images of one size and mode: `folder/<class>/<name>.png`, or any layout with `labels`.

    An image's ID is its path in the folder, `"leak/7.png"`. The EXIF orientation is applied, the first of several
    frames is read, and transparency is dropped unless the mode includes it. A 16-bit image is refused in an 8-bit mode,
    which would clip its values at 255.

    Args:
        folder: Path of the images, which may be in subfolders. Only files that end in `.png`, `.jpg`, `.jpeg`, `.bmp`,
            `.gif`, `.tif`, `.tiff` or `.webp` are read; hidden files are skipped.
        labels: Label of each ID, one for every image; see `NpyFolder`. By default an image's class is the first folder
            of its path, and images that are not in a subfolder are unlabelled.
        size: `(height, width)` to resize to, bilinear with antialiasing, without keeping the aspect ratio. By default
            all images must have the size of the first one.
        mode: `"RGB"`, `"L"` (grey), `"RGBA"`, or `"I;16"` (grey, 16 bits).
        metadata: polars DataFrame, or a CSV, JSON, NDJSON or Parquet file, with a column of IDs.
        class_names: Class names in the order of the class indices.
        id, label: Columns of the IDs and the labels; see `NpyFolder`.
        strip: Whether to strip whitespace around class names.
        threads: Number of decoder threads.
        max_pixels: Limit on the pixels of an image. A file of a few bytes may claim any size.
    Shapes: `read(indices)` returns `uint8[n, height, width, channels]`; `uint16` for `"I;16"`.
    Raises:
        RecordError: If a file is not an image, truncated, unreadable, of a wrong size or bit depth, or a link out of
            the folder. The message begins with the file's path.
        DataError: If files and labels do not match.
        PackageError: If pillow is not installed.

    >>> import tempfile, PIL.Image
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     for name in ("leak", "ok"):
    ...         os.mkdir(f"{folder}/{name}")
    ...         PIL.Image.new("RGB", (6, 4), "red").save(f"{folder}/{name}/1.png")
    ...     source = ImageFolder(folder, size=(2, 3))
    ...     source.read([0]).shape, source.ids, source.class_names
    ((1, 2, 3, 3), ('leak/1.png', 'ok/1.png'), ('leak', 'ok'))
    """

    def __init__(
        self,
        folder: str | PathLike[str],
        labels: Labels | None = None,
        size: tuple[int, int] | None = None,
        mode: Mode = "RGB",
        metadata: Metadata | None = None,
        class_names: Sequence[str] | None = None,
        *,
        id: str | None = None,
        label: str | None = None,
        strip: bool = False,
        threads: int = 4,
        max_pixels: int = 1 << 26,
    ) -> None:
        self._folder: Final = absolute(folder)
        self._decode: Final = Decoder(mode, size, threads, max_pixels)
        paths = (path for path in files_in(self._folder, deep=True) if path.lower().endswith(SUFFIXES))
        found = sorted(os.path.relpath(path, self._folder).replace(os.sep, "/") for path in paths)
        ids, values, table = tables_of_files(found, labels, metadata, id=id, label=label, folder=self._folder)
        if labels is None:
            values = _folders_of(found, self._folder)
            if values is None and class_names is not None:
                raise ArgumentError(
                    "class_names= for unlabelled images",
                    expected="images in one folder per class, or labels=",
                    fix="pass labels=, or drop class_names=",
                )
        encoded = None if values is None else encode(values, class_names=class_names, ids=ids, strip=strip)
        super().__init__(ids, encoded, table)

    def _read(self, indices: NDArray[np.int64]) -> NDArray[Any]:
        if self._decode.shape is None and len(self):
            self._decode(1, self._load)  # the first image sets the size of all
        rows, places = np.unique(indices, return_inverse=True)
        return self._decode(len(rows), lambda row: self._load(int(rows[row]))).take(places, axis=0)

    def _load(self, position: int) -> tuple[bytes, str]:
        path = os.path.join(self._folder, *self.ids[position].split("/"))
        return read_within(path, self._folder, _MAX_BYTES), path


def _folders_of(ids: Sequence[str], folder: str) -> list[str] | None:
    """Return the class of each image, the first folder of its path; None if there are no folders."""
    outside = [name for name in ids if "/" not in name]
    if len(outside) == len(ids):
        return None
    if outside:
        raise DataError(
            f"{folder}: the image {outside[0]!r} next to folders of images",
            expected="each image in the folder of its class, or no folders",
            fix="move the image into the folder of its class, or pass labels=",
        )
    return [name.split("/")[0] for name in ids]
