"""JPEGs whose coded data is damaged are refused, whatever libjpeg makes of them; sound ones of any kind are not."""

import io
import random
import re

import numpy
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from tl_vision.decoding import decoded, pixels_of
from tl_vision.jpeg_scans import MOST_SCANS, require_whole_scans
from tlcore import UnreadableError


def scene(width=160, height=120, seed=0, mode="RGB"):
    drawn = numpy.random.default_rng(seed).integers(0, 256, (height // 8 + 2, width // 8 + 2, 3), dtype=numpy.uint8)
    return Image.fromarray(drawn).resize((width, height)).convert(mode)


def jpeg(picture, **options):
    raw = io.BytesIO()
    picture.save(raw, "JPEG", **options)
    return raw.getvalue()


def data_of(raw):
    """Return where the data of the first scan begins and the last one's ends."""
    start = raw.index(b"\xff\xda")
    return start + 2 + int.from_bytes(raw[start + 2 : start + 4], "big"), raw.rindex(b"\xff\xd9")


def with_zeros(raw):
    start, end = data_of(raw)
    middle = (start + end) // 2
    return raw[:middle] + bytes(200) + raw[middle + 200 :]


def with_20_other_bytes(raw, seed=0):
    chance, changed = random.Random(seed), bytearray(raw)
    start, end = data_of(raw)
    for _ in range(20):
        changed[chance.randrange(start, end)] = chance.randrange(1, 255)
    return bytes(changed)


def without_a_restart(raw):
    place = re.search(rb"\xff[\xd2]", raw).start()
    return raw[:place] + raw[place + 2 :]


def without_the_last_scan(raw):
    return raw[: raw.rindex(b"\xff\xda")] + b"\xff\xd9"


def cut_in_the_last_scan(raw):
    return raw[: (raw.rindex(b"\xff\xda") + len(raw)) // 2] + b"\xff\xd9"


def with_a_marker_inside(raw):
    start, end = data_of(raw)
    middle = (start + end) // 2
    return raw[:middle] + b"\xff\xc4\x7f\xff" + raw[middle:]


def with_many_scans(raw):
    start, end = raw.rindex(b"\xff\xda"), data_of(raw)[1]
    return raw[:end] + raw[start:end] * MOST_SCANS + raw[end:]


TURNED = Image.Exif()
TURNED[274] = 6
DAMAGED = {
    "zeros": (with_zeros(jpeg(scene())), "zero bytes in the middle"),
    "zeros, optimised": (with_zeros(jpeg(scene(), optimize=True)), "zero bytes in the middle"),
    "zeros, turned": (with_zeros(jpeg(scene(), exif=TURNED)), "zero bytes in the middle"),
    "zeros, CMYK": (with_zeros(jpeg(scene(mode="CMYK"))), "zero bytes in the middle"),
    "other bytes": (with_20_other_bytes(jpeg(scene())), "does not end where the picture does"),
    "other bytes, turned": (with_20_other_bytes(jpeg(scene(), exif=TURNED)), "does not end where the picture does"),
    "other bytes, grey": (with_20_other_bytes(jpeg(scene(mode="L"))), "does not end where the picture does"),
    "a marker inside": (with_a_marker_inside(jpeg(scene())), "cut off"),
    "a lost restart": (without_a_restart(jpeg(scene(), restart_marker_rows=1)), "restart markers in its data where 7"),
    "progressive without its last scan": (without_the_last_scan(jpeg(scene(), progressive=True)), "last scans"),
    "progressive cut in its last scan": (cut_in_the_last_scan(jpeg(scene(), progressive=True)), "cut off"),
    "progressive with many scans": (with_many_scans(jpeg(scene(), progressive=True)), "only an attack"),
}


@pytest.mark.parametrize("case", DAMAGED)
def test_damaged_data_is_refused_on_every_way_to_the_pixels(case, capfd):
    raw, reason = DAMAGED[case]
    for read in (pixels_of, decoded):
        with pytest.raises(UnreadableError, match=reason):
            read(raw)
    assert capfd.readouterr().err == ""  # what libjpeg prints names no file


@settings(max_examples=60, deadline=None)
@given(
    width=st.integers(1, 90),
    height=st.integers(1, 90),
    seed=st.integers(0, 9),
    mode=st.sampled_from(["RGB", "L", "CMYK"]),
    quality=st.integers(1, 100),
    options=st.sampled_from([{}, {"progressive": True}, {"optimize": True}, {"restart_marker_blocks": 3}]),
    subsampling=st.sampled_from([0, 1, 2]),
)
def test_sound_data_of_any_kind_is_not_refused(width, height, seed, mode, quality, options, subsampling):
    require_whole_scans(jpeg(scene(width, height, seed, mode), quality=quality, subsampling=subsampling, **options))


@pytest.mark.parametrize("colour", ["black", "white", "grey", "red"])
@pytest.mark.parametrize("options", [{}, {"optimize": True}, {"progressive": True}])
def test_a_large_picture_of_one_colour_is_not_refused(colour, options):
    require_whole_scans(jpeg(Image.new("RGB", (1500, 1500), colour), **options))


@pytest.mark.parametrize("added", [b"\0", b"\xff" * 3, b"\0" * 40, b"\x12\x34\x56"])
def test_a_few_bytes_too_many_at_the_end_of_the_data_are_no_damage(added):
    raw = jpeg(scene())
    assert pixels_of(raw[:-2] + added + raw[-2:]).equal(pixels_of(raw))


def test_a_second_picture_or_a_thumbnail_is_not_looked_at():
    raw = jpeg(scene(seed=1))
    for odd in (raw + with_zeros(jpeg(scene())), raw[:2] + b"\xff\xe1\xff\x00" + raw.ljust(0xFEFE, b"\0") + raw[2:]):
        assert pixels_of(odd).equal(pixels_of(raw))
