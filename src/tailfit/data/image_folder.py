"""A folder of images as a source: a folder a class, or labels by file; decoded by several threads."""

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from os import PathLike, fspath
from typing import Any, Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from tailfit.data.files import files_in, read_within
from tailfit.data.images import Decoder, Mode
from tailfit.data.metadata import read_table
from tailfit.data.npy_folder import Labels, label_table, match_files
from tailfit.data.source import Source
from tailfit.errors import ArgumentError, DataError, RecordError
from tailfit.labels import encode
from tailfit.samplers.base import whole_number

__all__ = ["SUFFIXES", "ImageFolder"]

SUFFIXES = (".bmp", ".gif", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp")
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
        metadata: polars DataFrame, or a CSV, JSON or Parquet file, with a column `id`.
        class_names: Names of the classes in the order of their codes.
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
        metadata: pl.DataFrame | str | PathLike[str] | None = None,
        class_names: Sequence[str] | None = None,
        *,
        threads: int = 4,
        max_pixels: int = 1 << 26,
    ) -> None:
        self._folder: Final = os.path.abspath(fspath(folder))
        self._decode: Final = Decoder(mode, size, max_pixels)
        self._size = None if size is None else (int(size[0]), int(size[1]))
        self._threads: Final = whole_number("threads", threads, least=1)
        paths = (path for path in files_in(self._folder, deep=True) if path.lower().endswith(SUFFIXES))
        found = sorted(os.path.relpath(path, self._folder).replace(os.sep, "/") for path in paths)
        ids, values = (tuple(found), _folders_of(found, self._folder)) if labels is None else label_table(labels)
        if labels is not None:
            match_files(ids, set(found), self._folder)
        elif values is None and class_names is not None:
            raise ArgumentError(
                "class_names for images in no folder", allowed="a folder a class, or labels", mend="pass labels"
            )
        encoded = None if values is None else encode(values, class_names=class_names, ids=ids)
        if metadata is not None and not isinstance(metadata, pl.DataFrame):
            metadata = read_table(metadata)
        super().__init__(ids, encoded, metadata)

    def _image(self, position: int) -> NDArray[Any]:
        path = os.path.join(self._folder, *self.ids[position].split("/"))
        image = self._decode(read_within(path, self._folder, _LARGEST), path)
        # The first image tells the size where none was given. Two threads may both look at it: it is the same.
        if self._size is None:
            self._size = (image if position == 0 else self._image(0)).shape[:2]
        if image.shape[:2] != self._size:
            raise RecordError(
                f"{path}: an image of {image.shape[0]} x {image.shape[1]} pixels",
                allowed=f"{self._size[0]} x {self._size[1]}, as the first one, {self.ids[0]}",
                mend="pass size=(height, width) to scale them",
            )
        return image

    def _read(self, indices: NDArray[np.int64]) -> NDArray[Any]:
        rows, places = np.unique(indices, return_inverse=True)
        if self._size is None and len(self):
            self._image(0)
        images = np.empty((len(rows), *(self._size or (0, 0)), self._decode.channels), self._decode.dtype)

        def fill(row: int) -> None:
            images[row] = self._image(int(rows[row]))

        # A pool a batch costs less than one image, and leaves no thread to a fork, or to the end of the program.
        with ThreadPoolExecutor(self._threads, "tailfit-images") as pool:
            for _ in pool.map(fill, range(len(rows))):  # raises the first error in the order of the rows
                pass
        return images.take(places, axis=0)


def _folders_of(ids: Sequence[str], folder: str) -> list[str] | None:
    """The class of each image by the folder it lies in; None if there are no folders."""
    outside = [name for name in ids if "/" not in name]
    if len(outside) == len(ids):
        return None
    if outside:
        raise DataError(
            f"{folder}: the image {outside[0]!r} beside folders of images",
            allowed="each image in the folder of its class, or none in a folder",
            mend="move it into one, or pass labels",
        )
    return [name.split("/")[0] for name in ids]
