"""Decoder of images to arrays of one mode and size."""

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
# Only these formats, because some of Pillow's decoders run other programs on the content of the file.
_FORMATS = ("BMP", "GIF", "JPEG", "PNG", "TIFF", "WEBP")


class Decoder:
    """A decoder of images to arrays of one shape.

    Args:
        mode: Pillow's name of the pixel format.
        size: `(height, width)` to resize to; None if all images must have the size of the first one decoded.
        threads: Number of decoder threads.
        max_pixels: Limit on the pixels of an image.
    Attributes:
        shape: `(height, width, channels)` of every image; without `size` None until the first image is decoded.
    Raises:
        ArgumentError: If an argument is invalid.
        PackageError: If pillow is not installed.
    """

    def __init__(self, mode: Mode, size: tuple[int, int] | None, threads: int, max_pixels: int) -> None:
        needed("PIL.Image", "images", "an image")
        if mode not in get_args(Mode):
            raise ArgumentError(
                f"mode={mode!r}", expected=f"one of {get_args(Mode)}", fix="pass mode='RGB', for example"
            )
        if size is not None and (not isinstance(size, tuple | list) or len(size) != 2):
            raise ArgumentError(f"size={size!r}", expected="a pair (height, width)", fix="pass two whole numbers")
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
        """Decode images to an array `[count, height, width, channels]`.

        Args:
            count: Number of images.
            load: Function that returns the bytes and the name in messages of image i; called by several threads.
        Raises:
            RecordError: If an image is invalid, truncated, too large, or of a wrong size or bit depth. The message
                begins with the name of the first such image.
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
                    expected=f"{images.shape[1]} x {images.shape[2]} pixels as in the first image",
                    fix="pass size=(height, width) to resize all images",
                )
            images[row] = image

        # A new pool per batch takes less time than one image, and no threads are left at a fork or at exit.
        with ThreadPoolExecutor(self._threads, "tailfit-images") as pool:
            for _ in pool.map(fill, range(count)):
                pass
        return images

    def _decoded(self, content: bytes, where: str) -> NDArray[Any]:
        try:
            array = self._pixels(content)
        except Exception as error:  # Pillow's decoders raise errors of many classes
            what = (str(error).splitlines() or [type(error).__name__])[0]
            depth = "16 bits per channel" if self._mode == "I;16" else "8 bits per channel (16 with mode='I;16')"
            raise RecordError(
                f"{where}: {what}",
                expected=f"an intact image of at most {self._max_pixels} pixels with {depth}",
                fix="replace or remove the file",
            ) from error
        return array.reshape(*array.shape[:2], self._channels)

    def _pixels(self, content: bytes) -> NDArray[Any]:
        pil, ops = needed("PIL.Image", "images", "an image"), needed("PIL.ImageOps", "images", "an image")
        with pil.open(io.BytesIO(content), formats=_FORMATS) as image:
            width, height = image.size  # from the header, before anything is decoded
            if width * height > self._max_pixels:
                raise ValueError(f"an image of {height} x {width} pixels")
            # Pillow would clip values of more than 8 bits at 255.
            if image.mode.startswith("I;16") != (self._mode == "I;16") or image.mode in ("I", "F"):
                raise ValueError(f"an image of mode {image.mode}")
            upright = ops.exif_transpose(image)
            if self._mode != "I;16":
                upright = upright.convert(self._mode)
            if self._size is not None:
                upright = upright.resize(self._size[::-1], pil.Resampling.BILINEAR)
            return np.asarray(upright)
