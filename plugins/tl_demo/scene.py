"""One picture: a vehicle of the wanted class on a street, seen, lit and photographed with the faults of a camera."""

from __future__ import annotations

import io
import math
from collections.abc import Callable, Mapping, Sequence
from random import Random

import numpy as np
from PIL import Image, ImageFilter, ImageOps

from tl_demo.bodywork import Vehicle
from tl_demo.canvas import OVERSAMPLING, Camera, Canvas, Spot
from tl_demo.cars import pickup, sedan, suv
from tl_demo.daylight import daylight, paint_sky
from tl_demo.lorries import lorry
from tl_demo.street import Street
from tl_demo.two_wheelers import bicycle, motorcycle, scooter
from tl_demo.vans import bus, van

__all__ = ["CLASSES", "draw"]

MODELS: Mapping[str, Sequence[Callable[[Random], Vehicle]]] = {
    "sedan": (sedan,),
    "suv": (suv,),
    "truck": (pickup, lorry),
    "two-wheeler": (bicycle, scooter, motorcycle),
    "commercial-vehicle": (van, van, bus),
}
CLASSES = tuple(MODELS)


def draw(seed: int, number: int, size: int) -> tuple[str, bytes]:
    """Return the class and the JPEG of picture ``number``: a function of the three arguments and nothing else.

    Its class is ``number`` modulo five, so the first n pictures are as balanced as n allows.
    """
    rng = Random(f"drawn vehicle {seed} {number}")  # noqa: S311 - a string seeds by SHA-512, whatever the hash seed
    label = CLASSES[number % len(CLASSES)]
    vehicle = rng.choice(MODELS[label])(rng)
    canvas = Canvas(size, _camera(rng, vehicle, size * OVERSAMPLING), daylight(rng))
    compact = math.sqrt(vehicle.length * vehicle.height)
    street = Street(rng, (compact / 2.8) ** 0.7 * rng.uniform(0.8, 1.25), vehicle.width / 2)
    paint_sky(canvas, rng)
    street.paint_behind(canvas)
    vehicle.paint(canvas)
    street.paint_before(canvas, vehicle.length, vehicle.height, 0.45 * canvas.camera.distance)
    picture = canvas.finished()
    if rng.random() < 0.5:
        picture = ImageOps.mirror(picture)
    return label, _photographed(rng, picture)


def _camera(rng: Random, vehicle: Vehicle, side: int) -> Camera:
    """Return a camera that has the vehicle in the picture, in any class about as large."""
    compact = math.sqrt(vehicle.length * vehicle.height)
    angle = rng.triangular(-0.7, 0.7, 0.0)
    distance = max(compact * rng.uniform(2.3, 4.5), vehicle.length)
    height = vehicle.height * rng.uniform(0.45, 1.3)
    left, top, right, bottom = _extent(Camera(angle, distance, height), vehicle)
    wide, high = right - left, bottom - top
    focal = min(rng.uniform(0.56, 0.74) / math.sqrt(wide * high), 0.98 / wide, 0.85 / high) * side
    free_x, free_y = side - wide * focal, side - high * focal
    x = free_x * rng.uniform(0.25, 0.75) - left * focal
    y = free_y * rng.uniform(0.45, 0.8) - top * focal
    return Camera(angle, distance, height, focal, (x, y), rng.gauss(0, 0.03))


def _extent(camera: Camera, vehicle: Vehicle) -> tuple[float, float, float, float]:
    half, deep = vehicle.length / 2, vehicle.width / 2
    corners: list[Spot] = camera.project(
        [(x, y, z) for x in (-half, half) for y in (0.0, vehicle.height) for z in (-deep, deep)]
    )
    across, down = [x for x, _ in corners], [y for _, y in corners]
    return min(across), min(down), max(across), max(down)


def _photographed(rng: Random, picture: Image.Image) -> bytes:
    """Return a JPEG with the blur, exposure, colour cast and noise of an ordinary camera."""
    sharpness = picture.width / 224
    picture = picture.filter(ImageFilter.GaussianBlur(rng.choice([0.0, rng.uniform(0.2, 0.9)]) * sharpness))
    pixels = np.asarray(picture, dtype=np.float32)
    gain = np.array([rng.uniform(0.92, 1.08) for _ in range(3)], dtype=np.float32) * rng.uniform(0.85, 1.15)
    contrast, lift = rng.uniform(0.8, 1.12), rng.uniform(-12, 12)
    noise = np.random.default_rng(rng.getrandbits(64)).standard_normal(pixels.shape, dtype=np.float32)
    pixels = (pixels - 128) * gain * contrast + (128 + lift) + noise * rng.uniform(0, 7)
    file = io.BytesIO()
    Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(file, "JPEG", quality=rng.randint(82, 93))
    return file.getvalue()
