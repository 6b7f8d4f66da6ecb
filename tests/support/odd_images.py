"""Pictures as strangers have them: each made here, with how it ends and, where it is usable, what a person sees in it.

A usable one shows its left half dark and its right half light; ``left`` and ``right`` are the colours.
"""

from __future__ import annotations

import io
import struct
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass

import numpy
from PIL import Image

__all__ = ["OddPicture", "halves", "odd_pictures", "png"]

DARK, LIGHT = (40, 20, 20), (220, 230, 240)
COMPRESSED = 12
"""So far a colour may be off where the format itself loses some."""


@dataclass(frozen=True)
class OddPicture:
    """A file and how it ends: with the two colours within ``tolerance``, or with a reason that ``says`` something."""

    name: str
    content: bytes
    says: str | None = None
    left: tuple[int, ...] | None = None
    right: tuple[int, ...] | None = None
    tolerance: int = 0


def noise(size: tuple[int, int], spread: float) -> Image.Image:
    """Return grey noise, the same in each run: of some noise a JPEG without its end marker is as good as the whole."""
    drawn = numpy.random.default_rng(0).normal(128, spread, size[::-1])
    return Image.fromarray(numpy.clip(drawn, 0, 255).astype("uint8"))


def halves(mode: str, left, right, size=(48, 32)) -> Image.Image:
    picture = Image.new(mode, size, left)
    picture.paste(right, (size[0] // 2, 0, *size))
    return picture


def saved(picture: Image.Image, kind: str, **options) -> bytes:
    raw = io.BytesIO()
    picture.save(raw, kind, **options)
    return raw.getvalue()


def chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def png(width, height, depth, colour, rows: bytes, *before: bytes, interlaced=0, header=None, end=True) -> bytes:
    """Return a PNG of raw rows, each with its filter byte; ``before`` are chunks that stand before the pixels."""
    shape = header or (width, height)
    start = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", *shape, depth, colour, 0, 0, interlaced))
    return start + b"".join(before) + chunk(b"IDAT", zlib.compress(rows)) + (chunk(b"IEND", b"") if end else b"")


def rows_of(width, height, left: bytes, right: bytes) -> bytes:
    return (b"\0" + left * (width // 2) + right * (width - width // 2)) * height


def interlaced(picture: Image.Image) -> bytes:
    """Return the seven passes of Adam7."""
    values = numpy.asarray(picture.convert("RGB"))
    passes = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))
    found = b""
    for x, y, across, down in passes:
        part = values[y::down, x::across]
        found += b"".join(b"\0" + row.tobytes() for row in part) if part.size else b""
    return found


def exif_of(turn: int) -> Image.Exif:
    exif = Image.Exif()
    exif[274] = turn
    return exif


def odd_pictures() -> Iterator[OddPicture]:
    """Yield every case."""
    yield from _jpegs()
    yield from _pngs()
    yield from _tiffs()
    yield from _others()
    yield from _no_pictures()


def _jpegs() -> Iterator[OddPicture]:
    scene = halves("RGB", DARK, LIGHT)
    good = saved(scene, "JPEG", quality=95)
    noisy = saved(noise((300, 200), 80).convert("RGB"), "JPEG")
    progressive = saved(noise((300, 200), 80).convert("RGB"), "JPEG", progressive=True)
    seen = {"left": DARK, "right": LIGHT, "tolerance": COMPRESSED}
    for name, content in {
        "progressive.jpg": saved(scene, "JPEG", quality=95, progressive=True),
        "no_subsampling.jpg": saved(scene, "JPEG", quality=95, subsampling=0),
        "named.png": good,
        "no_suffix": good,
        "bytes_after_the_end.jpg": good + b"\0" * 4000,
        "a_zip_after_the_end.jpg": good + b"PK\x03\x04" + bytes(100),
        "broken_exif.jpg": with_app1(good, b"Exif\0\0MM\0*\xff\xff\xff\xff"),
        "exif_of_noise.jpg": with_app1(good, b"Exif\0\0" + bytes(range(200))),
        "orientation_0.jpg": saved(scene, "JPEG", quality=95, exif=exif_of(0)),
        "orientation_9.jpg": saved(scene, "JPEG", quality=95, exif=exif_of(9)),
        "broken_icc.jpg": saved(scene, "JPEG", quality=95, icc_profile=b"no profile"),
        "comment.jpg": saved(scene, "JPEG", quality=95, comment=b"\xff\0\x1b[31m" * 99),
        "many_pictures.mpo": saved(scene, "MPO", quality=95, save_all=True, append_images=[scene.rotate(180)]),
    }.items():
        yield OddPicture(name, content, **seen)
    for turn in range(1, 9):
        turned = scene if turn == 1 else scene.transpose(UNDOING[turn])
        yield OddPicture(f"exif_{turn}.jpg", saved(turned, "JPEG", quality=95, exif=exif_of(turn)), **seen)
    grey = halves("L", 30, 230)
    yield OddPicture("grey.jpg", saved(grey, "JPEG", quality=95), None, (30,) * 3, (230,) * 3, COMPRESSED)
    inked = halves("CMYK", (0, 0, 0, 225), (0, 0, 0, 25))
    yield OddPicture("cmyk.jpg", saved(inked, "JPEG", quality=95), None, (30,) * 3, (230,) * 3, COMPRESSED)
    for name, part in {"half": 0.5, "99_in_100": 0.99}.items():
        yield OddPicture(f"cut_at_{name}.jpg", noisy[: int(part * len(noisy))], "cut off")
        yield OddPicture(f"progressive_cut_at_{name}.jpg", progressive[: int(part * len(progressive))], "cut off")
    for last in (1, 2, 3, 10):
        yield OddPicture(f"without_the_last_{last}.jpg", noisy[:-last], "cut off")
    yield OddPicture("only_a_marker.jpg", b"\xff\xd8", "cut off")
    yield OddPicture("only_a_header.jpg", noisy[: noisy.index(b"\xff\xda")], "cut off")
    yield OddPicture("twelve_bits.jpg", with_frame(good, lambda frame: b"\x0c" + frame[1:]), "damaged")
    yield OddPicture(
        "no_height.jpg", with_frame(good, lambda frame: frame[:1] + b"\0\0" + frame[3:]), "damaged or cut off"
    )
    yield OddPicture(
        "says_more_than_100_megapixels.jpg",
        with_frame(good, lambda frame: frame[:1] + struct.pack(">HH", 12_000, 12_000) + frame[5:]),
        "12,000 x 12,000 pixels",
    )
    more = with_frame(noisy, lambda frame: frame[:1] + struct.pack(">HH", 260, 300) + frame[5:])
    yield OddPicture("zeros_to_the_end.jpg", noisy[: len(noisy) // 2] + bytes(len(noisy) // 2), "cut off")
    yield OddPicture("says_81_megapixels.jpg", with_frame(good, says(9_000, 9_000)), "cut off")
    yield OddPicture("says_a_bit_more.jpg", more, "cut off")
    yield OddPicture("cut_and_closed.jpg", noisy[: len(noisy) // 2] + b"\xff\xd9", "cut off")
    for name, empty in {
        "rgb": Image.new("RGB", (300, 200), (128,) * 3),
        "grey": Image.new("L", (300, 200), 128),
    }.items():
        content = saved(empty, "JPEG", quality=95)  # the very colour that is filled in where data is missing
        yield OddPicture(f"all_{name}_of_128.jpg", content, None, (128,) * 3, (128,) * 3)
    empty = noise((300, 200), 80)
    empty.paste(128, (0, 96, 300, 200))
    yield OddPicture("half_grey.jpg", saved(empty, "JPEG", quality=95), None, (128,) * 3, (128,) * 3, 90)


def says(height: int, width: int):
    return lambda frame: frame[:1] + struct.pack(">HH", height, width) + frame[5:]


def with_app1(jpeg: bytes, content: bytes) -> bytes:
    return jpeg[:2] + b"\xff\xe1" + struct.pack(">H", len(content) + 2) + content + jpeg[2:]


def with_frame(jpeg: bytes, change) -> bytes:
    """Change what follows the length in the start of frame: precision, height, width."""
    place = jpeg.index(b"\xff\xc0") + 4
    return jpeg[:place] + change(jpeg[place : place + 15]) + jpeg[place + 15 :]


UNDOING = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_90,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_270,
}


def _pngs() -> Iterator[OddPicture]:
    scene = halves("RGB", DARK, LIGHT)
    good = saved(scene, "PNG")
    colours = {"left": DARK, "right": LIGHT}
    rows = rows_of(48, 32, bytes(DARK), bytes(LIGHT))
    bomb = zlib.compress(bytes(100_000_000), 9)
    for name, content in {
        "named.jpg": good,
        "interlaced.png": png(48, 32, 8, 2, interlaced(scene), interlaced=1),
        "gamma.png": png(48, 32, 8, 2, rows, chunk(b"gAMA", struct.pack(">I", 100_000))),
        "an_unknown_chunk.png": png(48, 32, 8, 2, rows, chunk(b"teSt", b"\0" * 99)),
        "bytes_after_the_end.png": good + b"\0" * 4000,
        "a_text_of_1_kb.png": png(48, 32, 8, 2, rows, chunk(b"tEXt", b"Comment\0" + b"x" * 1000)),
        "animated.png": saved(scene, "PNG", save_all=True, append_images=[scene.rotate(180)]),
        "transparent_colour.png": png(48, 32, 8, 2, rows, chunk(b"tRNS", struct.pack(">HHH", 1, 2, 3))),
    }.items():
        yield OddPicture(name, content, **colours)
    for depth in (1, 2, 4):
        most, pixels = 2**depth - 1, 8 // depth
        light = sum(most << (depth * place) for place in range(pixels))
        content = png(48, 32, depth, 0, (b"\0" + bytes(24 // pixels) + bytes([light]) * (24 // pixels)) * 32)
        yield OddPicture(f"grey_of_{depth}_bits.png", content, None, (0,) * 3, (255,) * 3)
        palette = chunk(b"PLTE", bytes(DARK) + bytes(LIGHT) * most)
        content = png(48, 32, depth, 3, (b"\0" + bytes(24 // pixels) + bytes([light]) * (24 // pixels)) * 32, palette)
        yield OddPicture(f"palette_of_{depth}_bits.png", content, **colours)
    wide = {  # 16 bits a channel
        "grey": (0, struct.pack(">H", 257 * 30), struct.pack(">H", 257 * 230), (30,) * 3, (230,) * 3),
        "rgb": (
            2,
            struct.pack(">HHH", *(257 * v for v in DARK)),
            struct.pack(">HHH", *(257 * v for v in LIGHT)),
            DARK,
            LIGHT,
        ),
        "grey_and_alpha": (4, struct.pack(">HH", 257 * 30, 65535), struct.pack(">HH", 0, 0), (30,) * 3, (255,) * 3),
        "rgba": (
            6,
            struct.pack(">HHHH", *(257 * v for v in DARK), 65535),
            struct.pack(">HHHH", 0, 0, 0, 0),
            DARK,
            (255,) * 3,
        ),
    }
    for name, (colour, left, right, dark, light) in wide.items():
        content = png(48, 32, 16, colour, rows_of(48, 32, left, right))
        yield OddPicture(f"{name}_of_16_bits.png", content, None, dark, light, 1)
    white = (255, 255, 255)
    grey_rows = rows_of(48, 32, b"\x1e", b"\xe6")
    yield OddPicture(
        "grey_with_a_transparent_value.png",
        png(48, 32, 8, 0, grey_rows, chunk(b"tRNS", b"\0\xe6")),
        None,
        (30,) * 3,
        white,
    )
    yield OddPicture(
        "rgb_with_a_transparent_value.png",
        png(48, 32, 8, 2, rows, chunk(b"tRNS", struct.pack(">HHH", *LIGHT))),
        None,
        DARK,
        white,
    )
    yield OddPicture(
        "grey_of_16_bits_with_a_transparent_value.png",
        png(48, 32, 16, 0, rows_of(48, 32, b"\x1e\x1e", b"\xe6\xe6"), chunk(b"tRNS", b"\xe6\xe6")),
        None,
        (30,) * 3,
        white,
    )
    yield OddPicture(
        "rgb_of_16_bits_with_a_transparent_value.png",
        png(48, 32, 16, 2, rows_of(48, 32, b"\x1e\x1e" * 3, b"\xe6\xe6" * 3), chunk(b"tRNS", b"\xe6\xe6" * 3)),
        None,
        (30,) * 3,
        white,
    )
    yield OddPicture(
        "one_bit_with_a_transparent_value.png",
        png(48, 32, 1, 0, (b"\0" + b"\0" * 3 + b"\xff" * 3) * 32, chunk(b"tRNS", b"\0\0")),
        None,
        white,
        white,
    )
    yield OddPicture(
        "one_transparent_palette_entry.png",
        png(
            48,
            32,
            8,
            3,
            rows_of(48, 32, b"\0", b"\1"),
            chunk(b"PLTE", bytes(DARK) + bytes(LIGHT)),
            chunk(b"tRNS", b"\xff\0"),
        ),
        None,
        DARK,
        white,
    )
    broken = bytearray(good)
    broken[good.index(b"IDAT") + 6] ^= 255
    yield OddPicture("wrong_checksum.png", bytes(broken), "damaged")
    yield OddPicture("no_end.png", png(48, 32, 8, 2, rows, end=False), None, **colours)
    yield OddPicture("cut_in_the_pixels.png", good[: good.index(b"IDAT") + 20], "cut off")
    yield OddPicture("only_a_header.png", good[:33], "cut off")
    yield OddPicture("only_a_signature.png", good[:8], "cut off")
    yield OddPicture("too_few_rows.png", png(48, 32, 8, 2, rows[: len(rows) // 2]), "cut off")
    yield OddPicture("too_many_rows.png", png(48, 32, 8, 2, rows * 2), None, **colours)
    yield OddPicture("no_width.png", png(48, 32, 8, 2, rows, header=(0, 32)), "damaged or cut off")
    yield OddPicture(
        "too_few_interlaced_rows.png", png(48, 32, 8, 2, interlaced(scene)[:-2000], interlaced=1), "cut off"
    )
    black = Image.new("RGB", (33, 31))
    yield OddPicture("all_black.png", saved(black, "PNG"), None, (0,) * 3, (0,) * 3)
    yield OddPicture(
        "all_black_interlaced.png", png(33, 31, 8, 2, interlaced(black), interlaced=1), None, (0,) * 3, (0,) * 3
    )
    yield OddPicture("no_palette.png", png(48, 32, 8, 3, rows_of(48, 32, b"\0", b"\1")), "palette that is missing")
    yield OddPicture(
        "an_index_beyond_the_palette.png",
        png(48, 32, 8, 3, rows_of(48, 32, b"\0", b"\7"), chunk(b"PLTE", bytes(DARK))),
        None,
        DARK,
        (0,) * 3,
    )
    yield OddPicture(
        "a_text_of_100_mb.png", png(48, 32, 8, 2, rows, chunk(b"zTXt", b"Comment\0\0" + bomb)), "unpacks to more"
    )
    yield OddPicture(
        "a_profile_of_100_mb.png", png(48, 32, 8, 2, rows, chunk(b"iCCP", b"sRGB\0\0" + bomb)), "unpacks to more"
    )
    yield OddPicture(
        "says_900_megapixels.png",
        png(48, 32, 8, 2, rows, header=(30_000, 30_000)),
        "900,000,000 pixels are more than 100 megapixels",
    )
    yield OddPicture("says_110_megapixels.png", png(48, 32, 8, 2, rows, header=(11_000, 10_000)), "11,000 x 10,000")
    yield OddPicture("says_90_megapixels.png", png(48, 32, 8, 2, rows, header=(9_000, 10_000)), "cut off")
    yield OddPicture("no_pixels_at_all.png", good[:33] + chunk(b"IEND", b""), "cut off")


def _tiffs() -> Iterator[OddPicture]:
    scene = halves("RGB", DARK, LIGHT)
    colours = {"left": DARK, "right": LIGHT}
    for compression in ("raw", "tiff_lzw", "tiff_deflate", "packbits", "tiff_adobe_deflate"):
        yield OddPicture(f"{compression}.tif", saved(scene, "TIFF", compression=compression), **colours)
    yield OddPicture(
        "jpeg_inside.tif", saved(scene, "TIFF", compression="jpeg", quality=95), tolerance=COMPRESSED, **colours
    )
    yield OddPicture("two_pages.tif", saved(scene, "TIFF", save_all=True, append_images=[scene.rotate(180)]), **colours)
    yield OddPicture(
        "transparent.tif", saved(halves("RGBA", (*DARK, 255), (0, 0, 0, 0)), "TIFF"), None, DARK, (255,) * 3
    )
    for turn in range(2, 9):
        content = saved(scene.transpose(UNDOING[turn]), "TIFF", tiffinfo={274: turn})
        yield OddPicture(f"orientation_{turn}.tif", content, **colours)
    yield OddPicture("fax.tif", saved(halves("1", 0, 1), "TIFF", compression="group4"), None, (0,) * 3, (255,) * 3)
    yield OddPicture(
        "cmyk.tif", saved(halves("CMYK", (0, 0, 0, 225), (0, 0, 0, 25)), "TIFF"), None, (30,) * 3, (230,) * 3
    )
    yield OddPicture(
        "lab.tif", saved(halves("LAB", (77, 128, 128), (240, 128, 128)), "TIFF"), None, (71,) * 3, (238,) * 3, 3
    )
    for mode in ("I;16", "I;16B"):
        content = saved(halves("I;16", 257 * 30, 257 * 230), "TIFF") if mode == "I;16" else big_endian_tiff()
        yield OddPicture(f"16_bits_{mode[-1]}.tif", content, None, (30,) * 3, (230,) * 3)
    yield OddPicture(
        "white_is_zero.tif",
        tiff_of(48, 32, 8, rows(48, 32, b"\x1e", b"\xe6"), photometric=0),
        None,
        (225,) * 3,
        (25,) * 3,
    )
    yield OddPicture(
        "16_bits_white_is_zero.tif",
        tiff_of(48, 32, 16, rows(48, 32, b"\x1e\x1e", b"\xe6\xe6"), photometric=0),
        None,
        (225,) * 3,
        (25,) * 3,
    )
    yield OddPicture(
        "rgb_of_16_bits.tif",
        tiff_of(48, 32, 16, rows(48, 32, b"\x1e\x1e" * 3, b"\xe6\xe6" * 3), photometric=2, samples=3),
        None,
        (30,) * 3,
        (230,) * 3,
        1,
    )
    yield OddPicture("32_bit_numbers.tif", saved(halves("I", 257 * 30, 257 * 230), "TIFF"), None, (30,) * 3, (230,) * 3)
    twelve = (  # two pixels in three bytes
        b"\x1e\x11\xe1" * 12 + b"\xe6\x6e\x66" * 12
    ) * 32
    yield OddPicture("12_bits.tif", tiff_of(48, 32, 12, twelve), None, (30,) * 3, (230,) * 3)
    light = struct.pack("<f", 30 / 255), struct.pack("<f", 230 / 255)
    for name, photometric, seen in (("black", 1, (30, 230)), ("white", 0, (225, 25))):
        content = tiff_of(48, 32, 32, rows(48, 32, *light), photometric=photometric, more=[(339, 3, 3)])
        yield OddPicture(f"float_{name}_is_zero.tif", content, None, (seen[0],) * 3, (seen[1],) * 3)
    signed = tiff_of(48, 32, 8, rows(48, 32, b"\x9c", b"\x64"), more=[(339, 3, 2)])
    yield OddPicture("values_with_a_sign.tif", signed, "have a sign")
    half = tiff_of(48, 32, 8, rows(48, 16, b"\x1e", b"\xe6"), strip=16)
    yield OddPicture("half_of_its_strips.tif", half, "strips or tiles of it are missing")
    one_plane = tiff_of(48, 32, 8, rows(48, 32, b"\x1e", b"\xe6"), photometric=2, samples=3, more=[(284, 3, 2)])
    yield OddPicture("one_plane_of_three.tif", one_plane, "strips or tiles of it are missing")
    yield OddPicture("large_32_bit_numbers.tif", saved(halves("I", 0, 2**30), "TIFF"), "no known scale")
    yield OddPicture("float_from_0_to_1.tif", saved(halves("F", 0.0, 1.0), "TIFF"), None, (0,) * 3, (255,) * 3)
    yield OddPicture("float_from_0_to_255.tif", saved(halves("F", 0.0, 255.0), "TIFF"), "no known scale")
    noisy = saved(noise((300, 200), 80).convert("RGB"), "TIFF", compression="tiff_lzw")
    yield OddPicture("cut_at_half.tif", noisy[: len(noisy) // 2], "damaged or cut off")
    yield OddPicture("only_a_header.tif", b"II*\0\x08\0\0\0", "damaged or cut off")
    yield OddPicture("a_directory_in_a_circle.tif", b"II*\0\x08\0\0\0\x00\x00\x08\0\0\0", "damaged or cut off")
    yield OddPicture(
        "says_900_megapixels.tif",
        tiff_of(30_000, 30_000, 8, b"\0" * 99),
        "900,000,000 pixels are more than 100 megapixels",
    )


def rows(width, height, left: bytes, right: bytes) -> bytes:
    return (left * (width // 2) + right * (width - width // 2)) * height


def big_endian_tiff() -> bytes:
    return tiff_of(48, 32, 16, rows(48, 32, b"\x1e\x1e", b"\xe6\xe6"), order=">")


def tiff_of(width, height, bits, pixels: bytes, *, photometric=1, samples=1, order="<", strip=None, more=()) -> bytes:
    """Return an uncompressed TIFF with one strip."""
    entries = [
        (256, 4, width), (257, 4, height), (258, 3, bits), (259, 3, 1), (262, 3, photometric), (273, 4, 0),
        (277, 3, samples), (278, 4, strip or height), (279, 4, len(pixels)), *more,
    ]  # fmt: skip
    size = 8 + 2 + 12 * len(entries) + 4
    many = size
    extra = struct.pack(f"{order}{samples}H", *[bits] * samples) if samples > 1 else b""
    found = (
        (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(order + "I", 8) + struct.pack(order + "H", len(entries))
    )
    for tag, kind, value in entries:
        if tag == 273:
            value = size + len(extra)
        if tag == 258 and samples > 1:
            found += struct.pack(order + "HHII", tag, kind, samples, many)
        elif kind == 3:
            found += struct.pack(order + "HHIHH", tag, kind, 1, value, 0)
        else:
            found += struct.pack(order + "HHII", tag, kind, 1, value)
    return found + struct.pack(order + "I", 0) + extra + pixels


def _others() -> Iterator[OddPicture]:
    scene = halves("RGB", DARK, LIGHT)
    colours = {"left": DARK, "right": LIGHT}
    near = {**colours, "tolerance": COMPRESSED}
    turned = scene.rotate(180)
    gif = saved(scene, "GIF", save_all=True, append_images=[turned, scene])
    yield OddPicture("animated.gif", gif, **colours)
    yield OddPicture("broken_last_frame.gif", gif[: gif.rindex(b"\x21\xf9") + 12], **colours)
    yield OddPicture("no_frame.gif", gif[: 13 + 3 * 2 ** ((gif[10] & 7) + 1)] + b";", "damaged or cut off")
    one = saved(noise((200, 100), 90), "GIF")
    yield OddPicture("cut_at_half.gif", one[: len(one) // 2], "cut off")
    see = Image.new("P", (48, 32), 0)
    see.paste(1, (24, 0, 48, 32))
    see.putpalette([*DARK, *LIGHT])
    yield OddPicture("transparent.gif", saved(see, "GIF", transparency=1), None, DARK, (255,) * 3)
    yield OddPicture(
        "animated.webp", saved(scene, "WEBP", lossless=True, save_all=True, append_images=[turned]), **colours
    )
    yield OddPicture("lossy.webp", saved(scene, "WEBP", quality=95), **near)
    yield OddPicture(
        "transparent.webp",
        saved(halves("RGBA", (*DARK, 255), (0, 0, 0, 0)), "WEBP", lossless=True),
        None,
        DARK,
        (255,) * 3,
    )
    yield OddPicture(
        "turned.webp", saved(scene.transpose(UNDOING[6]), "WEBP", lossless=True, exif=exif_of(6)), **colours
    )
    webp = saved(noise((200, 100), 90).convert("RGB"), "WEBP")
    yield OddPicture("cut_at_half.webp", webp[: len(webp) // 2], "cut off")
    bmp = saved(scene, "BMP")
    yield OddPicture("plain.bmp", bmp, **colours)
    yield OddPicture("top_down.bmp", bmp[:22] + struct.pack("<i", -32) + bmp[26:], **colours)
    yield OddPicture("one_bit.bmp", saved(halves("1", 0, 1), "BMP"), None, (0,) * 3, (255,) * 3)
    yield OddPicture("alpha.bmp", saved(halves("RGBA", (*DARK, 255), (*LIGHT, 255)), "BMP"), **colours)
    yield OddPicture("cut_at_half.bmp", bmp[: len(bmp) // 2], "cut off")
    yield OddPicture("no_pixels.bmp", bmp[:54], "cut off")
    yield OddPicture(
        "says_900_megapixels.bmp",
        bmp[:18] + struct.pack("<ii", 30_000, 30_000) + bmp[26:],
        "900,000,000 pixels are more than 100 megapixels",
    )
    for name, size in {
        "1x1": (1, 1),
        "1x500": (1, 500),
        "500x1": (500, 1),
        "65500x1": (65_500, 1),
        "1x65500": (1, 65_500),
    }.items():
        yield OddPicture(f"{name}.png", saved(Image.new("RGB", size, DARK), "PNG"), None, DARK, DARK)
        yield OddPicture(
            f"{name}.jpg", saved(Image.new("RGB", size, DARK), "JPEG", quality=95), None, DARK, DARK, COMPRESSED
        )


def _no_pictures() -> Iterator[OddPicture]:
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr("1.jpg", saved(halves("RGB", DARK, LIGHT), "JPEG"))
    scene = halves("RGB", DARK, LIGHT)
    for name, content, says in (
        ("empty.jpg", b"", "empty"),
        ("blanks.jpg", b" \n" * 9, "no picture"),
        ("zeros.jpg", bytes(5000), "zero bytes only"),
        ("ones.jpg", b"\xff" * 5000, "no picture"),
        ("html.jpg", b"\n<!DOCTYPE html><html><body>404</body></html>", "a web page"),
        ("html_upper.jpg", b"<HTML><BODY>404", "a web page"),
        ("svg.jpg", b'<?xml version="1.0"?>\n<svg xmlns="http://www.w3.org/2000/svg"/>', "SVG"),
        ("xml.jpg", b'<?xml version="1.0"?><Error><Code>AccessDenied</Code></Error>', "XML"),
        ("json.jpg", b'{"error": "not found"}', "text"),
        ("text.jpg", "kein Bild, nur Wörter".encode(), "text"),
        ("lfs.jpg", b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n", "Git LFS"),
        ("zip.jpg", archive.getvalue(), "zip archive"),
        ("pdf.jpg", b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n", "PDF"),
        ("eps.jpg", b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "PostScript"),
        ("gzip.jpg", b"\x1f\x8b\x08\0" + bytes(20), "gzip"),
        ("heic.heic", b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(99), "HEIC"),
        ("avif.avif", b"\0\0\0\x1cftypavif\0\0\0\0avifmif1" + bytes(99), "AVIF"),
        ("video.jpg", b"\0\0\0\x18ftypmp42\0\0\0\0mp42isom" + bytes(99), "video"),
        ("jxl.jxl", b"\xff\x0a\xfa\x1f" + bytes(99), "JPEG XL"),
        ("jxl_box.jxl", b"\0\0\0\x0cJXL \r\n\x87\n" + bytes(99), "JPEG XL"),
        ("jp2.jp2", b"\0\0\0\x0cjP  \r\n\x87\n" + bytes(99), "JPEG 2000"),
        ("psd.psd", b"8BPS\0\1" + bytes(99), "Photoshop"),
        ("icon.ico", saved(scene, "ICO"), "icon"),
        ("plain.ppm", saved(scene, "PPM"), "PPM"),
        ("program.jpg", b"\x7fELF" + bytes(99), "no picture"),
        ("apple_double.jpg", b"\0\x05\x16\x07\0\x02\0\0Mac OS X        " + bytes(99), "no picture"),
    ):
        yield OddPicture(name, content, says)
