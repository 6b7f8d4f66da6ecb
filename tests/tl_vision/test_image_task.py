"""Image classification shows in a report what the network saw."""

import io

import pytest
from PIL import Image

import tl_vision
from tlcore import Example, UnreadableError


def preview_of(source):
    classification = next(iter(tl_vision.tl_tasks()))
    return classification.build(classification.options()).preview(Example("x", source))


def shown(raw):
    return Image.open(io.BytesIO(preview_of(raw)))


def test_a_preview_is_a_small_png():
    raw = io.BytesIO()
    Image.new("L", (900, 300)).save(raw, "JPEG")
    preview = shown(raw.getvalue())
    assert preview.format == "PNG"
    assert preview.size == (160, 53)


def test_a_small_picture_is_not_enlarged_and_a_strip_keeps_a_pixel():
    for size, expected in (((20, 10), (20, 10)), ((1, 4000), (1, 160))):
        raw = io.BytesIO()
        Image.new("RGB", size).save(raw, "PNG")
        assert shown(raw.getvalue()).size == expected


def test_a_preview_stands_upright_and_carries_nothing_of_the_files_data():
    raw = io.BytesIO()
    exif = Image.Exif()
    exif[274] = 6
    exif[270] = "taken at home"
    Image.new("RGB", (60, 40)).save(raw, "JPEG", exif=exif)
    preview = shown(raw.getvalue())
    assert preview.size == (40, 60)
    assert not preview.getexif()
    assert not preview.info


def test_what_cannot_be_read_has_no_preview(tmp_path):
    with pytest.raises(UnreadableError):
        preview_of(tmp_path / "absent.jpg")
