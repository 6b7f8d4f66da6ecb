"""The pixels of a JPEG are those of Pillow, to the bit, whatever kind of JPEG it is."""

import contextlib
import io
from pathlib import Path

import numpy
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image, ImageOps

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


def as_pillow_gives(source):
    with Image.open(source if isinstance(source, Path) else io.BytesIO(source)) as image:
        upright = ImageOps.exif_transpose(image).convert("RGB")
    return torch.from_numpy(numpy.array(upright)).permute(2, 0, 1)


@settings(max_examples=80)
@given(
    width=st.integers(1, 90),
    height=st.integers(1, 90),
    seed=st.integers(0, 9),
    mode=st.sampled_from(["RGB", "RGB", "L", "CMYK"]),
    turn=st.integers(0, 9),
    quality=st.integers(1, 100),
    subsampling=st.sampled_from([0, 1, 2]),
    progressive=st.booleans(),
    restart=st.sampled_from([0, 1, 3]),
)
def test_any_jpeg_is_decoded_as_pillow_does(width, height, seed, mode, turn, restart, **options):
    exif = Image.Exif()
    exif[274] = turn
    raw = jpeg(noise(width, height, seed).convert(mode), exif=exif, restart_marker_blocks=restart, **options)
    assert torch.equal(pixels_of(raw), as_pillow_gives(raw))
    assert torch.equal(pixels_of(raw), torch.from_numpy(numpy.array(decoded(raw))).permute(2, 0, 1))


@pytest.mark.parametrize("share", [0.5, 0.99])
def test_a_part_of_a_jpeg_is_unreadable(tmp_path, share):
    raw = jpeg(noise(300, 200))
    (tmp_path / "part.jpg").write_bytes(raw[: int(share * len(raw))])
    with pytest.raises(UnreadableError, match="cut off"):
        pixels_of(tmp_path / "part.jpg")


def test_a_huge_jpeg_is_refused_before_any_decoder_runs(monkeypatch):
    monkeypatch.setattr(decoding, "PIXEL_LIMIT", 100)
    monkeypatch.setattr(decoding, "decode_jpeg", lambda *given_, **options: pytest.fail("it was decoded"))
    with pytest.raises(UnreadableError, match="20 x 10 pixels are more than"):
        pixels_of(jpeg(noise(20, 10)))


def test_only_the_part_of_a_file_that_an_image_can_take_is_read(monkeypatch):
    raw = jpeg(noise(20, 10))
    monkeypatch.setattr(decoding, "LARGEST_JPEG", len(raw))
    assert torch.equal(pixels_of(raw + bytes(1000)), as_pillow_gives(raw))


DAMAGED = [
    jpeg(noise(40, 30), progressive=progressive, subsampling=subsampling, restart_marker_blocks=restart)
    for progressive in (False, True)
    for subsampling in (0, 2)
    for restart in (0, 2)
]


@settings(max_examples=300, suppress_health_check=list(HealthCheck))
@given(
    st.sampled_from(DAMAGED),
    st.lists(st.tuples(st.floats(0, 1), st.integers(0, 255)), max_size=6),
    st.floats(0.3, 1),
    st.binary(max_size=20),
)
def test_a_damaged_jpeg_is_refused_or_what_pillow_gives(raw, changes, end, tail):
    changed = bytearray(raw)
    for place, value in changes:
        changed[min(int(place * len(changed)), len(changed) - 1)] = value
    damaged = bytes(changed[: int(end * len(changed))]) + tail
    with contextlib.suppress(UnreadableError):
        assert torch.equal(pixels_of(damaged), as_pillow_gives(damaged))


def test_the_photos_of_a_package_are_the_same_pixels():
    package = pytest.importorskip("conformal_clip_data")
    photos = sorted(Path(package.__file__).parent.rglob("*.jpg"))[::50]
    for photo in photos:
        assert torch.equal(pixels_of(photo), as_pillow_gives(photo))
    assert len(photos) > 20
