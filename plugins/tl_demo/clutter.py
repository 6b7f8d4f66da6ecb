"""What stands about in a street: trees, lamps, signs, bins, benches. Each is about as large as ``size`` says."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from random import Random
from typing import TypeAlias

from tl_demo.bodywork import any_colour
from tl_demo.canvas import BLACK, WHITE, Canvas, Colour, circle, mixed
from tl_demo.people import walker
from tl_demo.shell import block

__all__ = ["LEAVES", "OBSTACLES", "ROADSIDE", "tree"]

Thing: TypeAlias = Callable[[Canvas, Random, float, float, float], None]

LEAVES: tuple[Colour, ...] = (
    (84, 128, 62), (58, 104, 58), (112, 146, 66), (140, 130, 60), (176, 112, 52), (60, 90, 70),
)  # fmt: skip
IRON: Colour = (70, 74, 76)


def tree(canvas: Canvas, rng: Random, x: float, z: float, size: float) -> None:
    """Paint a tree with a round crown, or a fir."""
    leaf, tall = rng.choice(LEAVES), size * rng.uniform(0.9, 1.9)
    thick = tall * rng.uniform(0.03, 0.05)
    canvas.box(x - thick, 0, 2 * thick, tall * 0.6, z, mixed((104, 78, 58), leaf, rng.uniform(0, 0.2)))
    if rng.random() < 0.25:
        for index in range(3):
            low, wide = tall * (0.22 + 0.24 * index), tall * (0.3 - 0.07 * index)
            needles = mixed(leaf, BLACK, 0.25 - 0.06 * index)
            canvas.upright([(x - wide, low), (x, low + 0.42 * tall), (x + wide, low)], z, needles)
        return
    crown = tall * rng.uniform(0.2, 0.28)
    for index in range(7):
        across, up = math.cos(index * 2.4), math.sin(index * 2.4)
        place = (x + 0.85 * crown * across, 0.8 * tall + 0.75 * crown * up, z)
        canvas.ball(place, crown * rng.uniform(0.5, 0.75), mixed(leaf, BLACK, 0.25 - 0.12 * up))


def _sapling(canvas: Canvas, rng: Random, x: float, z: float, size: float) -> None:
    tall = size * 2.2
    canvas.box(x, 0, 0.035 * size, tall, z, (96, 72, 54))
    canvas.ball((x, tall, z), 0.4 * size, rng.choice(LEAVES))


def _shrub(canvas: Canvas, rng: Random, x: float, z: float, size: float) -> None:
    leaf, tall = rng.choice(LEAVES), size * rng.uniform(0.1, 0.2)
    for index in range(6):
        place = (x + (index - 2.5) * 0.42 * tall, tall * rng.uniform(0.4, 0.8), z)
        canvas.ball(place, tall * rng.uniform(0.5, 0.7), mixed(leaf, BLACK, rng.uniform(0, 0.3)))


def _post(canvas: Canvas, rng: Random, x: float, z: float, size: float) -> None:
    tint = rng.choice([IRON, (150, 152, 150), (120, 90, 66)])
    canvas.box(x, 0, rng.uniform(0.025, 0.05) * size, 4 * size, z, tint)


def _sign(canvas: Canvas, rng: Random, x: float, z: float, size: float) -> None:
    tall, wide = size * rng.uniform(0.7, 1.0), size * rng.uniform(0.08, 0.12)
    canvas.box(x - 0.01 * size, 0, 0.02 * size, tall, z, (140, 142, 144))
    bright = rng.choice([(198, 40, 40), (34, 90, 170), (240, 196, 60), (60, 130, 80)])
    corners = rng.choice([3, 4, 8, 20])
    canvas.upright(circle(x, tall, wide, corners), z + 0.01, bright)
    canvas.upright(circle(x, tall, wide * 0.65, corners), z + 0.02, WHITE)


def _bollards(canvas: Canvas, rng: Random, x: float, z: float, size: float) -> None:
    tint = rng.choice([IRON, (220, 110, 50), (200, 200, 196)])
    for index in range(rng.randint(1, 4)):
        left = x + index * 0.3 * size
        canvas.box(left, 0, 0.045 * size, 0.2 * size, z, tint)
        canvas.box(left, 0.13 * size, 0.045 * size, 0.03 * size, z + 0.01, mixed(tint, WHITE, 0.7))


def _railing(canvas: Canvas, rng: Random, x: float, z: float, size: float) -> None:
    tint, tall = rng.choice([IRON, (54, 90, 70), (180, 182, 180)]), 0.2 * size
    for index in range(9):
        canvas.box(x + index * 0.07 * size, 0, 0.012 * size, tall, z, tint)
    canvas.box(x, tall, 0.57 * size, 0.02 * size, z, tint)


def _lamp(canvas: Canvas, rng: Random, x: float, z: float, size: float) -> None:
    tall = size * rng.uniform(1.4, 2.2)
    canvas.box(x, 0, 0.03 * size, tall, z, IRON)
    canvas.ball((x + 0.015 * size, tall, z), 0.09 * size, (255, 232, 170), glowing=canvas.light.lamps > 0.2)
    canvas.halo((x, tall, z), 0.5 * size, (255, 214, 140))


def _bin(canvas: Canvas, rng: Random, x: float, z: float, size: float) -> None:
    tint = rng.choice([(60, 96, 66), IRON, (60, 84, 130), (150, 96, 50)])
    block(canvas, x, 0, z, (0.17 * size, 0.3 * size, 0.17 * size), tint)
    block(canvas, x - 0.01 * size, 0.3 * size, z, (0.19 * size, 0.04 * size, 0.19 * size), mixed(tint, BLACK, 0.3))


def _bench(canvas: Canvas, rng: Random, x: float, z: float, size: float) -> None:
    wood = mixed((146, 104, 68), BLACK, rng.uniform(0, 0.3))
    for left in (x, x + 0.5 * size):
        canvas.box(left, 0, 0.03 * size, 0.18 * size, z, IRON)
    for low in (0.15, 0.23, 0.29):
        canvas.box(x - 0.03 * size, low * size, 0.6 * size, 0.035 * size, z, wood)


def _hoarding(canvas: Canvas, rng: Random, x: float, z: float, size: float) -> None:
    wide, tall, low = size * rng.uniform(0.4, 0.9), size * rng.uniform(0.4, 0.7), size * rng.uniform(0.1, 0.5)
    rim, inset = 0.03 * size, 0.08 * size
    canvas.box(x, low, wide, tall, z, IRON)
    canvas.box(x + rim, low + rim, wide - 2 * rim, tall - 2 * rim, z, any_colour(rng, 60, 240))
    canvas.box(x + inset, low + inset, wide * rng.uniform(0.2, 0.6), tall * 0.3, z, any_colour(rng, 60, 240))
    canvas.upright(circle(x + wide * 0.65, low + tall * 0.6, tall * 0.2, 14), z, any_colour(rng, 60, 240))
    canvas.box(x + wide * 0.45, 0, 0.05 * size, low, z, IRON)


ROADSIDE: Sequence[Thing] = (
    _lamp, _sign, walker, walker, _bin, _bench, tree, _shrub, _bollards, _hoarding, _railing,
)  # fmt: skip
"""What may stand behind the vehicle."""

OBSTACLES: Sequence[Thing] = (_post, _sign, _shrub, _bollards, _sapling, _railing)
"""What may stand before the vehicle: thin or low, so that it hides no more than a part of it."""
