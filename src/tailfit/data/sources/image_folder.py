"""A folder of images as a source: a folder a class, or labels by file; decoded by several threads."""

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

_LARGEST = 1 << 30  # bytes of a file


class ImageFolder(Source):
    """Images of one size and mode, `folder/<class>/<name>.png` or with labels given.

    An image's ID is its path in the folder, `"leak/7.png"`. Its EXIF orientation is applied; of several frames it is
    the first one; transparency is dropped unless the mode has it. Images of 16 bits are refused in a mode of 8, where
    they would be cut off at 255.

    Args:
        folder: Where the images are, in folders or not. Files of other endings than `.png`, `.jpg`, `.jpeg`, `.bmp`,
            `.gif`, `.tif`, `.tiff` and `.webp`, and hidden ones, are left out.
        labels: ID to label, one for each image, as `NpyFolder` takes them. Without it the class of an image is the
            folder it lies in, the first one of its path; images in no folder have none.
        size: `(height, width)` to scale to, bilinear with antialiasing, whatever the proportions were; without it all
            must have the size of the first one.
        mode: `"RGB"`, `"L"` (grey), `"RGBA"`, or `"I;16"` (grey, 16 bits).
        metadata: polars DataFrame, or a CSV, JSON, NDJSON or Parquet file, one of whose columns holds the IDs.
        class_names: Names of the classes in the order of their codes.
        id, label: The columns of the IDs and the labels, as of `NpyFolder`.
        strip: Whether white space around names of classes is dropped.
        threads: That decode at a time.
        max_pixels: The largest image that is decoded. A file of a few bytes may claim any size.
    Shapes: `read(indices)` gives `uint8[n, height, width, channels]`, of `"I;16"` `uint16`.
    Raises:
        RecordError: beginning with the file's path: not an image, truncated, of another size or depth than allowed,
            unreadable, or a link out of the folder.
        DataError: if files and labels do not match.
        PackageError: without pillow.

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
                    "class_names for images in no folder", expected="a folder a class, or labels", fix="pass labels"
                )
        encoded = None if values is None else encode(values, class_names=class_names, ids=ids, strip=strip)
        super().__init__(ids, encoded, table)

    def _read(self, indices: NDArray[np.int64]) -> NDArray[Any]:
        if self._decode.shape is None and len(self):
            self._decode(1, self._load)  # the first image tells the size of all
        rows, places = np.unique(indices, return_inverse=True)
        return self._decode(len(rows), lambda row: self._load(int(rows[row]))).take(places, axis=0)

    def _load(self, position: int) -> tuple[bytes, str]:
        path = os.path.join(self._folder, *self.ids[position].split("/"))
        return read_within(path, self._folder, _LARGEST), path


def _folders_of(ids: Sequence[str], folder: str) -> list[str] | None:
    """The class of each image by the folder it lies in; None if there are no folders."""
    outside = [name for name in ids if "/" not in name]
    if len(outside) == len(ids):
        return None
    if outside:
        raise DataError(
            f"{folder}: the image {outside[0]!r} beside folders of images",
            expected="each image in the folder of its class, or none in a folder",
            fix="move it into one, or pass labels",
        )
    return [name.split("/")[0] for name in ids]
