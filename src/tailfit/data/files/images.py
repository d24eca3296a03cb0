"""Encoded images: bytes to arrays of a stated mode and size, or refused."""

import io
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from tailfit.arguments import whole_number
from tailfit.errors import ArgumentError, RecordError
from tailfit.extras import needed

__all__ = ["SUFFIXES", "Decoder", "Mode"]

SUFFIXES = (".bmp", ".gif", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp")

Mode = Literal["L", "RGB", "RGBA", "I;16"]
# Of the decoders that Pillow has, some run other programs on what is in the file.
_FORMATS = ("BMP", "GIF", "JPEG", "PNG", "TIFF", "WEBP")


class Decoder:
    """Brings encoded images to arrays of one shape.

    Args:
        mode: Pillow's name of the pixels' form.
        size: `(height, width)` to scale to; without it all must have the size of the first one decoded.
        threads: That decode at a time.
        max_pixels: The largest image that is decoded.
    Attributes:
        shape: `(height, width, channels)` of every image; None until the first one is decoded, if no size was given.
    Raises:
        ArgumentError: for what these can't be.
        PackageError: without pillow.
    """

    def __init__(self, mode: Mode, size: tuple[int, int] | None, threads: int, max_pixels: int) -> None:
        needed("PIL.Image", "images", "an image")
        if mode not in get_args(Mode):
            raise ArgumentError(f"mode={mode!r}", expected=f"one of {get_args(Mode)}", fix="use mode='RGB'")
        if size is not None and (not isinstance(size, tuple | list) or len(size) != 2):
            raise ArgumentError(f"size={size!r}", expected="(height, width)", fix="pass two whole numbers")
        for what, length in zip(("height", "width"), size or (), strict=False):
            whole_number(what, length, least=1)
        self._mode: Final = mode
        self._channels: Final = {"RGB": 3, "RGBA": 4}.get(mode, 1)
        self._dtype: Final = np.dtype(np.uint16 if mode == "I;16" else np.uint8)
        self._size: Final = None if size is None else (size[0], size[1])
        self._threads: Final = whole_number("threads", threads, least=1)
        self._max_pixels: Final = whole_number("max_pixels", max_pixels, least=1)
        self.shape = None if size is None else (size[0], size[1], self._channels)

    def __call__(self, count: int, load: Callable[[int], tuple[bytes, str]]) -> NDArray[Any]:
        """So many images, `[count, height, width, channels]`.

        Args:
            count: How many.
            load: Gives the bytes of one by its number, and what messages call it; called by several threads.
        Raises:
            RecordError: beginning with that name: not an image, truncated, too large, of another depth or size. The
                first one in order.
        """
        if self.shape is None and count:
            self.shape = self._decoded(*load(0)).shape
        images = np.empty((count, *(self.shape or (0, 0, self._channels))), self._dtype)

        def fill(row: int) -> None:
            content, where = load(row)
            image = self._decoded(content, where)
            if image.shape != images.shape[1:]:
                raise RecordError(
                    f"{where}: an image of {image.shape[0]} x {image.shape[1]} pixels",
                    expected=f"{images.shape[1]} x {images.shape[2]}, as the first one",
                    fix="pass size=(height, width) to scale them",
                )
            images[row] = image

        # A pool a batch costs less than one image, and leaves no thread to a fork, or to the end of the program.
        with ThreadPoolExecutor(self._threads, "tailfit-images") as pool:
            for _ in pool.map(fill, range(count)):
                pass
        return images

    def _decoded(self, content: bytes, where: str) -> NDArray[Any]:
        try:
            array = self._pixels(content)
        except Exception as error:  # Pillow's decoders raise of all kinds
            what = (str(error).splitlines() or [type(error).__name__])[0]
            deep = "16 bits a pixel" if self._mode == "I;16" else "8 bits a pixel; mode='I;16' reads 16"
            raise RecordError(
                f"{where}: {what}",
                expected=f"a whole image of at most {self._max_pixels} pixels, {deep}",
                fix="replace or remove the file",
            ) from error
        return array.reshape(*array.shape[:2], self._channels)

    def _pixels(self, content: bytes) -> NDArray[Any]:
        pil, ops = needed("PIL.Image", "images", "an image"), needed("PIL.ImageOps", "images", "an image")
        with pil.open(io.BytesIO(content), formats=_FORMATS) as image:
            width, height = image.size  # as the header says: nothing is decoded yet
            if width * height > self._max_pixels:
                raise ValueError(f"an image of {height} x {width} pixels")
            # Pillow would cut off at 255 what has more bits.
            if image.mode.startswith("I;16") != (self._mode == "I;16") or image.mode in ("I", "F"):
                raise ValueError(f"an image of mode {image.mode}")
            upright = ops.exif_transpose(image)
            if self._mode != "I;16":
                upright = upright.convert(self._mode)
            if self._size is not None:
                upright = upright.resize(self._size[::-1], pil.Resampling.BILINEAR)
            return np.asarray(upright)
