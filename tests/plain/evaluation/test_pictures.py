"""Small pictures of samples: of series and images, made again from the run's file, which is checked."""

import base64
import io
import json

import numpy as np
import pytest
from PIL import Image
from support.pages import HOSTILE, Page

import tailfit
from tailfit.evaluation.pictures import PICTURES_FILE, draw_pictures, pictures_of, read_pictures, write_pictures


def test_curves_are_means_of_pieces():
    records = np.zeros((2, 96, 6), np.float32)
    records[0, :, 1] = np.arange(96)
    records[0, :2, 0] = np.nan
    records[0, 2, 0] = np.inf
    first = pictures_of(records)[0]["curves"]
    assert len(first) == 4
    assert first[1] == [2 * piece + 0.5 for piece in range(48)]
    assert first[0][:3] == [None, 0.0, 0.0]  # no reading, one that is not finite, two


@pytest.mark.parametrize("colours", [1, 3, 4])
def test_thumbnails_are_images(colours):
    image = np.random.default_rng(0).integers(0, 256, (50, 30, colours), dtype=np.uint8)
    decoded = np.asarray(Image.open(io.BytesIO(base64.b64decode(pictures_of(image[np.newaxis])[0]["png"]))))
    assert np.array_equal(decoded.reshape(25, 30, colours), image[::2])
    flat = pictures_of(np.ones((1, 28, 28)))[0]["png"]
    assert Image.open(io.BytesIO(base64.b64decode(flat))).size == (28, 28)


@pytest.mark.parametrize("records", [np.zeros((2, 5)), np.zeros((2, 3, 2)), {"x": np.zeros(2)}, np.array([["a"]])])
def test_other_records_have_no_pictures(records, tmp_path):
    assert pictures_of(records) is None
    write_pictures(tmp_path, [0, 1], np.zeros((2, 8, 1)))
    write_pictures(tmp_path, [0, 1], records)
    assert not list(tmp_path.iterdir())


def test_the_page_shows_the_records_of_the_worst_mistakes(tmp_path):
    y, ids = np.arange(6) % 2, [f"{name} {k}" for k, name in enumerate(HOSTILE[:6])]
    evaluation = tailfit.evaluate(y, np.eye(2)[1 - y] + 0.1, ids=ids)
    for records in (np.random.default_rng(0).normal(size=(3, 20, 2)), np.zeros((3, 20, 20, 3))):
        write_pictures(tmp_path, [0, 2, 5], records)
        page = Page(evaluation.to_html(pictures=read_pictures(tmp_path)))
        plain = Page(evaluation.to_html())
        found = [page.elements[tag] - plain.elements[tag] for tag in ("svg", "img")]
        assert sorted(found) == [0, 3]
        assert page.elements["td"] - plain.elements["td"] == 6  # one for each of six mistakes
        assert not [name for name, _ in page.attributes if name.startswith("on")]


@pytest.mark.parametrize(
    "picture",
    [
        {"png": '" onerror="alert(1)'},
        {"png": base64.b64encode(b"<svg>").decode()},
        {"png": base64.b64encode(b"\x89PNG" + bytes(20_000)).decode()},
        {"png": 5},
        {"curves": [["<b>"]]},
        {"curves": [[1e999]]},
        {"curves": [[1.0] * 49]},
        {"curves": [[1.0]] * 5},
        {"curves": 5},
        {},
        [],
        None,
    ],
)
def test_damaged_pictures_are_left_out(picture, tmp_path):
    fields = {"format": "tailfit.pictures", "version": 1, "pictures": {"0": picture}}
    (tmp_path / PICTURES_FILE).write_text(json.dumps(fields))
    assert read_pictures(tmp_path) == {}


def test_any_curve_is_drawn():
    for curve in ([None] * 3, [1.0], [1.0, None, 2.0, 3.0], [5.0] * 9, []):
        assert "nan" not in draw_pictures({0: {"curves": [curve]}}, [0], ["a"])[0]
