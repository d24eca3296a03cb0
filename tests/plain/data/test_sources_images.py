"""ImageFolder: sizes, bit depths, orientation, labels. Damaged files are in the battery of formats."""

import struct
import threading
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest

from tailfit.data import ImageFolder
from tailfit.errors import ArgumentError, DataError, PackageError, RecordError

RGB = np.random.default_rng(0).integers(0, 256, (4, 6, 3)).astype("uint8")


def write(path: Path, image: Any = RGB, **options: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    PIL.Image.fromarray(image).save(path, **options)
    return path


class TestLabels:
    def test_the_first_folder_is_the_class(self, tmp_path: Path) -> None:
        for name in ("ok/b.png", "leak/deep/a.png", "ok/a.bmp", ".cache/x.png"):
            write(tmp_path / name)
        source = ImageFolder(tmp_path)
        assert source.ids == ("leak/deep/a.png", "ok/a.bmp", "ok/b.png")
        assert (source.labels.tolist(), source.class_names) == ([0, 1, 1], ("leak", "ok"))
        named = ImageFolder(tmp_path, class_names=["ok", "worn", "leak"])
        assert named.class_counts.tolist() == [2.0, 0.0, 1.0]

    def test_labels_by_file(self, tmp_path: Path) -> None:
        for name in ("a.png", "deep/b.png"):
            write(tmp_path / name)
        source = ImageFolder(tmp_path, labels={"deep/b.png": "ok", "a.png": "leak"})
        assert (source.ids, source.labels.tolist()) == (("deep/b.png", "a.png"), [1, 0])
        with pytest.raises(DataError, match=r"ID 'a.png' without a label"):
            ImageFolder(tmp_path, labels={"deep/b.png": 0})
        with pytest.raises(DataError, match=r"unknown ID '\.\./a.png'"):
            ImageFolder(tmp_path / "deep", labels={"b.png": 0, "../a.png": 1})
        with pytest.raises(DataError, match=r"'a.png' next to folders"):
            ImageFolder(tmp_path)

    def test_no_folders_no_labels(self, tmp_path: Path) -> None:
        write(tmp_path / "a.png")
        assert ImageFolder(tmp_path).labels is None
        with pytest.raises(ArgumentError, match="class_names"):
            ImageFolder(tmp_path, class_names=["a"])


class TestPixels:
    def test_images_are_resized(self, tmp_path: Path) -> None:
        write(tmp_path / "a.png")
        write(tmp_path / "b.png", np.full((50, 20, 3), 7, "uint8"))
        batch = ImageFolder(tmp_path, size=(2, 3)).read([0, 1])
        assert batch.shape == (2, 2, 3, 3)
        # Half of each axis, antialiased: an oracle of one pixel, weights of a triangle two pixels wide.
        rows, columns = np.array([3, 3, 1, 0]) / 7, np.array([0, 1, 3, 3, 1, 0]) / 8
        expected = np.einsum("i,j,ijc->c", rows, columns, RGB.astype(float))
        assert np.abs(batch[0, 0, 1] - expected).max() <= 1.0
        assert (batch[1] == 7).all()

    def test_other_sizes_are_refused(self, tmp_path: Path) -> None:
        write(tmp_path / "a.png")
        write(tmp_path / "b.png", RGB[:2])
        source = ImageFolder(tmp_path)
        with pytest.raises(RecordError, match=r"b.png: an image of 2 x 6 pixels.*4 x 6 pixels as in the first image"):
            source.read([1])

    @pytest.mark.parametrize("orientation", range(1, 9))
    def test_orientation_is_applied(self, tmp_path: Path, orientation: int) -> None:
        exif = PIL.Image.Exif()
        exif[0x0112] = orientation
        stored = {
            1: RGB,
            2: RGB[:, ::-1],
            3: RGB[::-1, ::-1],
            4: RGB[::-1],
            5: RGB.transpose(1, 0, 2),
            6: RGB.transpose(1, 0, 2)[::-1],
            7: RGB.transpose(1, 0, 2)[::-1, ::-1],
            8: RGB.transpose(1, 0, 2)[:, ::-1],
        }[orientation]
        write(tmp_path / "a.png", np.ascontiguousarray(stored), exif=exif)
        np.testing.assert_array_equal(ImageFolder(tmp_path).read([0])[0], RGB)

    @pytest.mark.parametrize("mode", ["L", "RGB", "RGBA"])
    def test_sixteen_bits_are_not_clipped(self, tmp_path: Path, mode: Any) -> None:
        write(tmp_path / "a.png", np.array([[0, 256, 65535]], dtype="uint16"))
        with pytest.raises(RecordError, match=r"a.png: an image of mode I;16.*16 with mode='I;16'"):
            ImageFolder(tmp_path, mode=mode).read([0])
        assert ImageFolder(tmp_path, mode="I;16").read([0]).ravel().tolist() == [0, 256, 65535]

    def test_other_depths_are_refused(self, tmp_path: Path) -> None:
        write(tmp_path / "a.tif", np.ones((2, 2), "float32"))
        write(tmp_path / "b.png")
        for mode in ("L", "I;16"):
            with pytest.raises(RecordError, match=r"a.tif: an image of mode F"):
                ImageFolder(tmp_path, mode=mode).read([0])
        with pytest.raises(RecordError, match=r"b.png: an image of mode RGB"):
            ImageFolder(tmp_path, mode="I;16", size=(2, 2)).read([1])

    def test_palettes_and_transparency(self, tmp_path: Path) -> None:
        clear = np.dstack([RGB, np.zeros((4, 6), "uint8")])
        write(tmp_path / "a.png", clear)
        np.testing.assert_array_equal(ImageFolder(tmp_path).read([0])[0], RGB)
        np.testing.assert_array_equal(ImageFolder(tmp_path, mode="RGBA").read([0])[0], clear)
        few = RGB // 128 * 255
        PIL.Image.fromarray(few).quantize(8).save(tmp_path / "a.png")
        np.testing.assert_array_equal(ImageFolder(tmp_path).read([0])[0], few)


class TestRefusals:
    def test_a_huge_claim_is_refused_before_it_is_decoded(self, tmp_path: Path) -> None:
        path = write(tmp_path / "a.png")
        content = bytearray(path.read_bytes())
        content[16:24] = struct.pack(">II", 9000, 9000)  # PNG's header, and its checksum
        content[29:33] = struct.pack(">I", zlib.crc32(content[12:29]))
        path.write_bytes(content)
        with pytest.raises(RecordError, match=r"a.png: an image of 9000 x 9000 pixels"):
            ImageFolder(tmp_path).read([0])

    def test_only_images_are_decoded(self, tmp_path: Path) -> None:
        (tmp_path / "a.png").write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 4 4\nshowpage\n")
        with pytest.raises(RecordError, match=r"a.png: cannot identify image file"):
            ImageFolder(tmp_path).read([0])

    def test_replaced_by_a_link(self, tmp_path: Path) -> None:
        outside = write(tmp_path / "out" / "x.png")
        write(tmp_path / "in" / "a.png")
        (tmp_path / "in" / "b.png").symlink_to("a.png")
        source = ImageFolder(tmp_path / "in")
        np.testing.assert_array_equal(source.read([1])[0], RGB)
        (tmp_path / "in" / "a.png").unlink()
        (tmp_path / "in" / "a.png").symlink_to(outside)
        for row in (0, 1):
            with pytest.raises(RecordError, match="a link out of the folder"):
                source.read([row])

    @pytest.mark.parametrize(
        "arguments",
        [{"mode": "CMYK"}, {"size": 4}, {"size": (4, 0)}, {"size": (4,)}, {"threads": 0}, {"max_pixels": 0}],
        ids=str,
    )
    def test_bad_arguments(self, tmp_path: Path, arguments: dict[str, Any]) -> None:
        with pytest.raises(ArgumentError):
            ImageFolder(tmp_path, **arguments)

    def test_without_pillow(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(__import__("sys").modules, "PIL.Image", None)
        with pytest.raises(PackageError, match=r"pip install 'tailfit\[images\]'"):
            ImageFolder(tmp_path)


def test_the_first_error_in_order_is_raised_and_threads_end(tmp_path: Path) -> None:
    for number in range(9):
        write(tmp_path / f"{number}.png")
    for number in (3, 6):
        (tmp_path / f"{number}.png").write_bytes(b"no")
    source = ImageFolder(tmp_path, threads=3)
    with pytest.raises(RecordError, match=r"3\.png"):
        source.read(range(9))
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("tailfit")]
