"""What a person sees is what the network sees; what cannot be seen has a reason."""

import contextlib
import csv
import io
import os
import re

import numpy
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from tl_vision.decoding import decoded
from tl_vision.task import ImageClassification
from tlcore import Example, UnreadableError

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


def test_half_of_a_picture_is_never_used(tmp_path):
    raw = io.BytesIO()
    Image.effect_noise((300, 300), 80).save(raw, "JPEG")
    with pytest.raises(UnreadableError):
        decoded(raw.getvalue()[: len(raw.getvalue()) // 2])


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


def test_a_pipe_is_refused_rather_than_read_for_ever(tmp_path):
    os.mkfifo(tmp_path / "pipe.jpg")
    with pytest.raises(UnreadableError, match="not a regular file"):
        decoded(tmp_path / "pipe.jpg")


def _encoded(kind):
    raw = io.BytesIO()
    Image.effect_noise((24, 16), 80).convert("RGB").save(raw, kind)
    return raw.getvalue()


GOOD = {kind: _encoded(kind) for kind in ("JPEG", "PNG", "GIF", "TIFF", "WEBP", "BMP")}


CHANGES = st.lists(st.tuples(st.floats(0, 1), st.integers(0, 255)), max_size=12)


@settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    st.sampled_from(sorted(GOOD)),
    st.lists(st.tuples(st.floats(0, 1), st.integers(0, 255)), max_size=12),
    st.floats(0, 1),
)
def test_a_damaged_picture_is_decoded_or_unreadable_and_nothing_else(kind, changes, end):
    raw = bytearray(GOOD[kind])
    for place, value in changes:
        raw[min(int(place * len(raw)), len(raw) - 1)] = value
    with contextlib.suppress(UnreadableError):
        assert decoded(bytes(raw[: max(1, int(end * len(raw)))])).mode == "RGB"


def test_a_preview_is_a_small_png():
    raw = io.BytesIO()
    Image.new("L", (900, 300)).save(raw, "JPEG")
    preview = Image.open(io.BytesIO(ImageClassification().preview(Example("x", raw.getvalue()))))
    assert preview.format == "PNG"
    assert preview.size == (160, 53)
