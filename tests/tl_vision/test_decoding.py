"""What a person sees is what the network sees; what cannot be seen has a reason."""

import contextlib
import csv
import errno
import io
import os
import re
from pathlib import Path

import numpy
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from tl_vision.decoding import FORMATS, decoded
from tlcore import UnreadableError

EITHER = ("trunc_no_eoi.jpg", "no_permission.jpg", "ztxt_bomb.png", "up")


def _raw_name(written):
    """Return a name's bytes; one that is not UTF-8 is written with escapes."""
    if "\\x" not in written:
        return written.encode()
    return re.sub(r"\\x(..)", lambda code: chr(int(code[1], 16)), written).encode("latin-1")


def pixels(picture):
    return numpy.asarray(picture).astype(int)


def test_every_odd_picture_ends_as_its_manifest_says(bad_inputs):
    wrong, checked = [], 0
    with (bad_inputs / "manifest.csv").open(encoding="utf-8") as file:
        cases = [row for row in csv.DictReader(file) if row["kind"] == "image"]
    for case in cases:
        path = bad_inputs / os.fsdecode(_raw_name(case["path"]))
        if path.name in EITHER or not os.path.lexists(path):  # not every file system keeps a name that is not UTF-8
            continue
        checked += 1
        try:
            found = "usable" if decoded(path).mode == "RGB" else "not RGB"
        except UnreadableError:
            found = "report_and_skip"
        if found != case["expected"]:
            wrong.append((case["path"], found))
    assert checked > 30
    assert wrong == []


def test_turned_photos_stand_upright(bad_inputs):
    upright = pixels(decoded(bad_inputs / "images" / "exif_1.jpg"))
    for turn in (3, 4, 6):
        turned = pixels(decoded(bad_inputs / "images" / f"exif_{turn}.jpg"))
        assert turned.shape == upright.shape
        assert abs(turned - upright).mean() < 6


def test_sixteen_bits_are_scaled_and_not_clipped(bad_inputs):
    values = pixels(decoded(bad_inputs / "images" / "grey16.png"))
    assert (values == 255).mean() < 0.01
    assert values.max() - values.min() > 100


def test_what_is_transparent_is_white():
    raw = io.BytesIO()
    Image.new("RGBA", (4, 4), (255, 0, 255, 0)).save(raw, "PNG")
    assert (pixels(decoded(raw.getvalue())) == 255).all()


@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize("part", [0.3, 0.6, 0.95])
def test_a_part_of_a_picture_is_never_used(kind, part):
    raw = io.BytesIO()
    Image.effect_noise((300, 200), 80).convert("RGB").save(raw, kind)
    with pytest.raises(UnreadableError):
        decoded(raw.getvalue()[: int(part * len(raw.getvalue()))])


def saved(picture, kind, **options):
    raw = io.BytesIO()
    picture.save(raw, kind, **options)
    return raw.getvalue()


def halves(mode, left, right, size=(6, 4)):
    picture = Image.new(mode, size, left)
    picture.paste(right, (size[0] // 2, 0, *size))
    return picture


def palette_halves():
    picture = halves("P", 0, 1)
    picture.putpalette([0, 0, 0, 9, 9, 9])
    return picture


@pytest.mark.parametrize(
    ("raw", "left", "right"),
    [
        (saved(halves("1", 0, 1), "PNG"), (0, 0, 0), (255, 255, 255)),
        (saved(halves("LA", (0, 255), (0, 0)), "PNG"), (0, 0, 0), (255, 255, 255)),
        (saved(palette_halves(), "PNG", transparency=bytes([255, 0])), (0, 0, 0), (255, 255, 255)),
        (saved(halves("RGBA", (255, 0, 0, 255), (255, 0, 0, 128)), "PNG"), (255, 0, 0), (255, 127, 127)),
        (saved(halves("CMYK", (0, 0, 0, 0), (0, 0, 0, 255)), "TIFF"), (255, 255, 255), (0, 0, 0)),
        (saved(halves("I;16", 0, 65535), "TIFF"), (0, 0, 0), (255, 255, 255)),
        (saved(halves("I;16", 257, 257 * 100), "PNG"), (1, 1, 1), (100, 100, 100)),
        (saved(halves("F", 0.0, 1.0), "TIFF"), (0, 0, 0), (255, 255, 255)),
    ],
    ids=[
        "1 bit",
        "grey and alpha",
        "palette",
        "half transparent",
        "CMYK",
        "TIFF of 16 bits",
        "PNG of 16 bits",
        "float",
    ],
)
def test_each_kind_of_pixel_is_what_a_person_would_see(raw, left, right):
    picture = decoded(raw)
    assert picture.mode == "RGB"
    assert picture.getpixel((0, 0)) == left
    assert picture.getpixel((5, 3)) == right


@pytest.mark.parametrize("value", [-1.0, 2.0, float("nan"), float("inf")])
def test_a_float_picture_without_a_known_scale_is_refused(value):
    with pytest.raises(UnreadableError, match="no known scale"):
        decoded(saved(halves("F", 0.0, value), "TIFF"))


@pytest.mark.parametrize("mode", ["RGB", "L", "P", "I;16"])
def test_any_kind_of_pixel_is_turned_upright(mode):
    exif = Image.Exif()
    exif[274] = 6  # to be turned clockwise by a quarter
    picture = decoded(saved(Image.new(mode, (6, 4)), "PNG", exif=exif))
    assert picture.size == (4, 6)


def test_a_huge_picture_is_refused_from_its_header():
    raw = io.BytesIO()
    Image.new("1", (12_000, 9_000)).save(raw, "PNG")
    with pytest.raises(UnreadableError, match="more than 100 megapixels"):
        decoded(raw.getvalue())


@pytest.mark.parametrize("content", [b"", b"<html>404</html>", b"%!PS-Adobe EPSF", b"<svg xmlns='x'/>"])
def test_what_is_no_picture_says_so(tmp_path, content):
    path = tmp_path / "picture.jpg"
    path.write_bytes(content)
    with pytest.raises(UnreadableError, match="no picture in one of the formats"):
        decoded(path)


@pytest.mark.parametrize(
    "path", ["a review of some length, not a picture. " * 200, "a\0b.jpg", "a\udcff.jpg", "/dev/zero"]
)
def test_what_cannot_be_a_file_is_unreadable_in_few_words(path):
    with pytest.raises(UnreadableError) as caught:
        decoded(Path(path))
    assert len(str(caught.value)) < 80


def test_a_text_is_no_picture_though_a_file_has_its_name(tmp_path, monkeypatch):
    """A text is known by its letters, so features of the file would be reused when the file holds another picture."""
    monkeypatch.chdir(tmp_path)
    Image.new("RGB", (8, 8)).save("a.png")
    with pytest.raises(UnreadableError, match=r"a text, not a picture.*input_is: path"):
        decoded("a.png")
    assert decoded(Path("a.png")).size == (8, 8)


def test_a_file_below_a_closed_folder_is_unreadable(monkeypatch, tmp_path):
    def closed(path, **options):
        raise PermissionError(errno.EACCES, "Permission denied", str(path))

    monkeypatch.setattr("pathlib.Path.stat", closed)
    with pytest.raises(UnreadableError, match=r"^Permission denied$"):
        decoded(tmp_path / "a.jpg")


def test_a_pipe_is_refused_rather_than_read_for_ever(tmp_path):
    os.mkfifo(tmp_path / "pipe.jpg")
    with pytest.raises(UnreadableError, match="not a regular file"):
        decoded(tmp_path / "pipe.jpg")


def _encoded(kind):
    raw = io.BytesIO()
    Image.effect_noise((24, 16), 80).convert("RGB").save(raw, kind)
    return raw.getvalue()


GOOD = {kind: _encoded(kind) for kind in FORMATS}
CHANGES = st.lists(st.tuples(st.floats(0, 1), st.integers(0, 255)), max_size=12)


@settings(max_examples=300, suppress_health_check=list(HealthCheck))
@given(
    st.sampled_from(sorted(GOOD)),
    CHANGES,
    st.floats(0, 1),
)
def test_a_damaged_picture_is_decoded_or_unreadable_and_nothing_else(kind, changes, end):
    raw = bytearray(GOOD[kind])
    for place, value in changes:
        raw[min(int(place * len(raw)), len(raw) - 1)] = value
    with contextlib.suppress(UnreadableError):
        assert decoded(bytes(raw[: max(1, int(end * len(raw)))])).mode == "RGB"
