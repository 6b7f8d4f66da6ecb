"""Every odd picture is what a person sees, or is refused in words that say what the file is."""

import random
import warnings

import numpy
import pytest
from PIL import Image

from tests.support.odd_images import COMPRESSED, halves, odd_pictures, png, saved
from tl_vision.content import what_it_is
from tl_vision.decoding import pixels_of
from tlcore import UnreadableError

CASES = list(odd_pictures())
TOO_SHORT_TO_SAY = 12


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_an_odd_picture_is_what_a_person_sees_or_refused_with_its_reason(case, tmp_path):
    path = tmp_path / case.name
    path.write_bytes(case.content)
    for source in (path, case.content):
        if case.says is not None:
            with pytest.raises(UnreadableError) as caught:
                pixels_of(source)
            assert case.says in str(caught.value)
            assert "\n" not in str(caught.value)
            assert len(str(caught.value)) < 250
            continue
        pixels = pixels_of(source)
        _, height, width = pixels.shape
        for wanted, column in ((case.left, width // 4), (case.right, 3 * width // 4)):
            found = pixels[:, height // 2, column].tolist()
            assert max(abs(a - b) for a, b in zip(found, wanted, strict=True)) <= case.tolerance, (found, wanted)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "GIF", "WEBP"])
def test_a_cut_at_any_place_is_never_used(kind, capfd):
    content = saved(Image.effect_noise((160, 120), 80).convert("RGB"), kind)
    end = len(content) - (TOO_SHORT_TO_SAY if kind in ("PNG", "GIF") else 0)  # an end mark, after the last pixel
    for place in random.Random(0).sample(range(end), 40):
        with pytest.raises(UnreadableError):
            pixels_of(content[:place])
    assert capfd.readouterr().err == ""  # what libjpeg prints names no file


@pytest.mark.parametrize("rows", [41, 100, 200, 239])
def test_a_jpeg_that_was_cut_and_closed_again_is_never_used(rows):
    for mode in ("RGB", "L"):
        content = saved(Image.effect_noise((160, 240), 80).convert(mode), "JPEG")
        part = content[: len(content) * (240 - rows) // 240] + b"\xff\xd9"
        with pytest.raises(UnreadableError, match="cut off"):
            pixels_of(part)


@pytest.mark.parametrize("shape", [(1, 1), (7, 3), (8, 8), (9, 17), (33, 5)])
@pytest.mark.parametrize("interlaced", [0, 1])
def test_a_black_png_of_any_shape_is_whole(shape, interlaced):
    from tests.support.odd_images import interlaced as passes

    picture = Image.new("RGB", shape)
    rows = passes(picture) if interlaced else (b"\0" + b"\0\0\0" * shape[0]) * shape[1]
    assert not pixels_of(png(*shape, 8, 2, rows, interlaced=interlaced)).any()
    with pytest.raises(UnreadableError, match="cut off"):
        pixels_of(png(*shape, 8, 2, rows[:-1], interlaced=interlaced))


def test_what_is_converted_in_bands_is_what_is_converted_whole(monkeypatch):
    noise = Image.effect_noise((37, 53), 90)
    wide = Image.fromarray(numpy.asarray(noise).astype(numpy.uint16) * 257)
    faint = noise.convert("RGB")
    faint.putalpha(noise)
    palette = saved(noise.convert("P"), "PNG", transparency=bytes(range(256)))
    kinds = [palette, *(saved(picture, "PNG") for picture in (noise, wide, faint, noise.convert("1")))]
    whole = [pixels_of(content) for content in kinds]
    monkeypatch.setattr("tl_vision.decoding.BAND", 100)
    assert all(pixels_of(content).equal(pixels) for content, pixels in zip(kinds, whole, strict=True))


def test_no_warning_of_a_library_reaches_the_terminal_without_a_file():
    odd = [case for case in CASES if "exif" in case.name or "megapixels" in case.name]
    with warnings.catch_warnings(record=True) as heard:
        warnings.resetwarnings()
        for case in odd:
            try:
                pixels_of(case.content)
            except UnreadableError:
                assert case.says
    assert [str(one.message) for one in heard if "PIL" in one.filename] == []


def test_a_large_photo_with_a_grey_floor_is_used():
    floor = halves("RGB", (10, 20, 30), (200, 210, 220), size=(64, 200))
    floor.paste((128, 128, 128), (0, 80, 64, 200))
    pixels = pixels_of(saved(floor, "JPEG", quality=95))
    assert abs(pixels[:, 20, 5].float() - 20).max() <= 10 + COMPRESSED


@pytest.mark.parametrize(
    ("start", "words"),
    [
        (b"", "empty (0 bytes)"),
        (b"RIFF\0\0\0\0WAVEfmt ", "audio or video"),
        ("é".encode() * 2048 + b"\xc3", "text"),
        (b"\xc3\x28 not UTF-8", "unknown kind"),
    ],
)
def test_what_a_file_is_can_be_said_of_its_start(start, words):
    assert words in what_it_is(start)
