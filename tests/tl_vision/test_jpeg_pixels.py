"""Pixels for the network are those of ``decoded``, to the bit, whichever decoder gives them."""

import io
import os
from pathlib import Path

import numpy
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from tl_vision import decoding
from tl_vision.decoding import decoded, pixels_of
from tlcore import UnreadableError


def noise(width, height, seed=0):
    drawn = numpy.random.default_rng(seed).integers(0, 256, (height // 8 + 2, width // 8 + 2, 3), dtype=numpy.uint8)
    return Image.fromarray(drawn).resize((width, height))


def jpeg(picture, **options):
    raw = io.BytesIO()
    picture.save(raw, "JPEG", **options)
    return raw.getvalue()


def as_pillow_gives(raw):
    return torch.from_numpy(numpy.array(decoded(raw))).permute(2, 0, 1)


def outcome(read, raw):
    try:
        return read(raw)
    except UnreadableError as error:
        return str(error)


@pytest.fixture
def by_torchvision(monkeypatch):
    """How many pictures torchvision's decoder gave."""
    given_ = []
    ordinary = decoding._ordinary_jpeg

    def counted(picture):
        pixels = ordinary(picture)
        given_.append(pixels is not None)
        return pixels

    monkeypatch.setattr(decoding, "_ordinary_jpeg", counted)
    return given_


@settings(max_examples=80, deadline=None)
@given(
    width=st.integers(1, 90),
    height=st.integers(1, 90),
    seed=st.integers(0, 9),
    mode=st.sampled_from(["RGB", "RGB", "L"]),
    quality=st.integers(1, 100),
    subsampling=st.sampled_from([0, 1, 2]),
    progressive=st.booleans(),
    restart=st.sampled_from([0, 1, 3]),
)
def test_any_ordinary_jpeg_is_decoded_as_pillow_does(width, height, seed, mode, progressive, restart, **options):
    picture = noise(width, height, seed).convert(mode)
    raw = jpeg(picture, progressive=progressive, restart_marker_blocks=restart, **options)
    assert torch.equal(pixels_of(raw), as_pillow_gives(raw))


def test_an_ordinary_jpeg_takes_the_fast_decoder_and_others_do_not(by_torchvision):
    turned = Image.Exif()
    turned[274] = 6
    upright = Image.Exif()
    upright[274] = 1
    png = io.BytesIO()
    noise(20, 10).save(png, "PNG")
    cases = [
        (jpeg(noise(20, 10)), True),
        (jpeg(noise(20, 10).convert("L")), True),
        (jpeg(noise(20, 10), exif=upright), True),
        (jpeg(noise(20, 10), exif=turned), False),
        (jpeg(noise(20, 10).convert("CMYK")), False),
        (png.getvalue(), False),
    ]
    for raw, _ in cases:
        assert torch.equal(pixels_of(raw), as_pillow_gives(raw))
    assert by_torchvision == [fast for _, fast in cases]


@pytest.mark.parametrize("share", [0.5, 0.99])
def test_a_part_of_a_jpeg_is_unreadable_for_the_same_reason(tmp_path, share):
    raw = jpeg(noise(300, 200))
    (tmp_path / "part.jpg").write_bytes(raw[: int(share * len(raw))])
    with pytest.raises(UnreadableError, match="truncated"):
        pixels_of(tmp_path / "part.jpg")


def test_a_huge_jpeg_is_refused_before_any_decoder_runs(monkeypatch):
    monkeypatch.setattr(decoding, "PIXEL_LIMIT", 100)
    monkeypatch.setattr(decoding, "decode_jpeg", lambda *given_, **options: pytest.fail("it was decoded"))
    with pytest.raises(UnreadableError, match="20 x 10 pixels are more than"):
        pixels_of(jpeg(noise(20, 10)))


def test_a_jpeg_with_too_many_bytes_is_left_to_pillow(monkeypatch, by_torchvision):
    monkeypatch.setattr(decoding, "LARGEST_JPEG", 100)
    raw = jpeg(noise(20, 10))
    assert torch.equal(pixels_of(raw), as_pillow_gives(raw))
    assert by_torchvision == [False]


DAMAGED = [
    jpeg(noise(40, 30), progressive=progressive, subsampling=subsampling, restart_marker_blocks=restart)
    for progressive in (False, True)
    for subsampling in (0, 2)
    for restart in (0, 2)
]


@settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    st.sampled_from(DAMAGED),
    st.lists(st.tuples(st.floats(0, 1), st.integers(0, 255)), max_size=6),
    st.floats(0.3, 1),
    st.binary(max_size=20),
)
def test_a_damaged_jpeg_is_the_same_pixels_or_the_same_reason(raw, changes, end, tail):
    changed = bytearray(raw)
    for place, value in changes:
        changed[min(int(place * len(changed)), len(changed) - 1)] = value
    damaged = bytes(changed[: int(end * len(changed))]) + tail
    expected, found = outcome(as_pillow_gives, damaged), outcome(pixels_of, damaged)
    assert torch.equal(found, expected) if isinstance(expected, torch.Tensor) else found == expected


def test_every_odd_picture_is_the_same_pixels_or_the_same_reason(bad_inputs):
    checked = 0
    for path in sorted((bad_inputs / "images").rglob("*")):
        if path.is_dir() or not os.path.lexists(path):
            continue
        expected, found = outcome(as_pillow_gives, path), outcome(pixels_of, path)
        assert torch.equal(found, expected) if isinstance(expected, torch.Tensor) else found == expected, path
        checked += 1
    assert checked > 30


def test_the_photos_of_a_package_are_the_same_pixels(by_torchvision):
    package = pytest.importorskip("conformal_clip_data")
    photos = sorted(Path(package.__file__).parent.rglob("*.jpg"))[::50]
    for photo in photos:
        assert torch.equal(pixels_of(photo), as_pillow_gives(photo))
    assert len(photos) > 20
    assert by_torchvision == [True] * len(photos)
