"""JPEGs with damaged data are refused, even where libjpeg only warns; sound ones of any kind are not."""

import io
import random
import re

import numpy
import pytest
import simplejpeg
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from tl_vision.decoding import decoded, pixels_of
from tl_vision.jpeg import MOST_SCANS
from tlcore import UnreadableError


def scene(width=160, height=120, seed=0, mode="RGB"):
    drawn = numpy.random.default_rng(seed).integers(0, 256, (height // 8 + 2, width // 8 + 2, 3), dtype=numpy.uint8)
    return Image.fromarray(drawn).resize((width, height)).convert(mode)


def noisy():
    noise = numpy.random.default_rng(0).normal(0, 6, (300, 400, 3))
    return Image.fromarray((numpy.asarray(scene(400, 300)) + noise).clip(0, 255).astype(numpy.uint8))


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


def with_another_size_inside(raw):
    """Put a frame with the true size first: Pillow believes the last one, libjpeg refuses two."""
    place = raw.index(b"\xff\xc0")
    frame = raw[place : place + 19]
    return raw[:place] + frame[:5] + b"\x60\0\x60\0" + frame[9:] + raw[place:]


def with_jfif_version_0(raw):
    return raw.replace(b"JFIF\0\1", b"JFIF\0\0", 1)


def with_bytes_between_segments(raw):
    return raw.replace(b"\xff\xdb", b"junk\xff\xdb", 1)


def with_zeros_as_parameters_of_the_scan(raw):
    start, _ = data_of(raw)
    return raw[: start - 3] + bytes(3) + raw[start:]


HARMLESS = [with_jfif_version_0, with_bytes_between_segments, with_zeros_as_parameters_of_the_scan]
"""libjpeg warns of them, and simplejpeg raises only the first warning."""
TURNED = Image.Exif()
TURNED[274] = 6
DAMAGED = {
    "zeros": (with_zeros(jpeg(scene())), "premature end of data"),
    "few zeros": (with_zeros(jpeg(noisy(), quality=85)), "zero bytes in the middle"),
    "few zeros, optimized": (with_zeros(jpeg(noisy(), quality=92, optimize=True)), "zero bytes in the middle"),
    "zeros, rotated": (with_zeros(jpeg(scene(), exif=TURNED)), "premature end of data"),
    "zeros, CMYK": (with_zeros(jpeg(scene(mode="CMYK"))), "premature end of data"),
    "other bytes": (with_20_other_bytes(jpeg(scene())), "132 extraneous bytes"),
    "other bytes, rotated": (with_20_other_bytes(jpeg(scene(), exif=TURNED)), "132 extraneous bytes"),
    "other bytes, gray": (with_20_other_bytes(jpeg(scene(mode="L"))), "70 extraneous bytes"),
    "a marker inside": (with_a_marker_inside(jpeg(scene())), "damaged: Bogus Huffman table"),
    "a lost restart": (without_a_restart(jpeg(scene(), restart_marker_rows=1)), "extraneous bytes before marker 0xd3"),
    "progressive without its last scan": (without_the_last_scan(jpeg(scene(), progressive=True)), "last scans"),
    "progressive cut in its last scan": (cut_in_the_last_scan(jpeg(scene(), progressive=True)), "cut off"),
    "progressive with many scans": (with_many_scans(jpeg(scene(), progressive=True)), "only an attack"),
    "two sizes": (with_another_size_inside(jpeg(scene())), "different sizes"),
    **{change.__name__: (change(with_20_other_bytes(jpeg(scene()))), "132 extraneous bytes") for change in HARMLESS},
}


@pytest.mark.parametrize("case", DAMAGED)
def test_damaged_data_is_refused_by_every_way_to_the_pixels(case, capfd):
    raw, reason = DAMAGED[case]
    for read in (pixels_of, decoded):
        with pytest.raises(UnreadableError, match=reason):
            read(raw)
    assert capfd.readouterr().err == ""  # what libjpeg prints names no file


@settings(max_examples=60)
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
    pixels_of(jpeg(scene(width, height, seed, mode), quality=quality, subsampling=subsampling, **options))


@pytest.mark.parametrize("colour", ["black", "white", "gray", "red"])
@pytest.mark.parametrize("options", [{}, {"optimize": True}, {"progressive": True}])
def test_a_large_picture_of_one_colour_is_not_refused(colour, options):
    pixels_of(jpeg(Image.new("RGB", (1500, 1500), colour), **options))


@pytest.mark.parametrize("added", [b"\0", b"\xff" * 3, b"\0" * 40, b"\x12\x34\x56"])
def test_a_few_bytes_too_many_at_the_end_of_the_data_are_no_damage(added):
    raw = jpeg(scene())
    assert pixels_of(raw[:-2] + added + raw[-2:]).equal(pixels_of(raw))


def test_a_second_picture_or_a_thumbnail_is_not_looked_at():
    raw = jpeg(scene(seed=1))
    for odd in (raw + with_zeros(jpeg(scene())), raw[:2] + b"\xff\xe1\xff\x00" + raw.ljust(0xFEFE, b"\0") + raw[2:]):
        assert pixels_of(odd).equal(pixels_of(raw))


@pytest.mark.parametrize("change", HARMLESS)
def test_what_libjpeg_warns_of_without_need_is_no_damage(change):
    raw = jpeg(scene())
    assert change(raw) != raw
    assert pixels_of(change(raw)).equal(pixels_of(raw))


def test_a_header_that_claims_a_huge_image_takes_no_memory(monkeypatch):
    monkeypatch.setattr(simplejpeg, "decode_jpeg", lambda *given_, **options: pytest.fail("it was decoded"))
    for raw, frame in ((jpeg(scene()), b"\xff\xc0"), (jpeg(scene(), progressive=True), b"\xff\xc2")):
        place = raw.index(frame) + 5
        with pytest.raises(UnreadableError, match="cut off"):
            pixels_of(raw[:place] + b"\x23\x28\x23\x28" + raw[place + 4 :])


def test_chroma_subsampling_that_simplejpeg_does_not_support_is_decoded():
    raw = jpeg(Image.new("RGB", (24, 8), (128, 128, 128)), subsampling=0)
    luma, (start, end) = raw.index(b"\xff\xc0") + 11, data_of(raw)
    blocks = int("001010" * 3 + "0000" * 2 + "111111", 2).to_bytes(4, "big")
    raw = raw[:luma] + b"\x31" + raw[luma + 1 : start] + blocks + raw[end:]
    assert simplejpeg_refuses(raw)
    assert pixels_of(raw).unique().tolist() == [128]


def simplejpeg_refuses(raw):
    with pytest.raises(ValueError, match="subsampling"):
        simplejpeg.decode_jpeg(raw)
    return True
