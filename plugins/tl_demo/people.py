"""People who walk by, and people behind windows."""

from __future__ import annotations

from random import Random

from tl_demo.bodywork import any_colour
from tl_demo.canvas import BLACK, Canvas, Colour, mixed

__all__ = ["SKINS", "passenger", "walker"]

SKINS: tuple[Colour, ...] = ((240, 204, 176), (214, 164, 124), (156, 108, 76), (98, 66, 48))


def passenger(rng: Random, chance: float) -> Colour | None:
    """Return the colour of somebody behind a window, or None where nobody sits."""
    return any_colour(rng, 90, 220) if rng.random() < chance else None


def walker(canvas: Canvas, rng: Random, x: float, z: float, size: float) -> None:
    """Paint someone on foot."""
    tall = 0.6 * size * rng.uniform(0.85, 1.1)
    coat, trousers, skin = any_colour(rng), any_colour(rng, 20, 120), rng.choice(SKINS)
    stride = rng.uniform(0.02, 0.16) * tall
    for step in (-stride, stride):
        canvas.line([(x, 0.48 * tall, z), (x + step, 0.03 * tall, z)], trousers, 0.09 * tall)
    canvas.line([(x, 0.52 * tall, z), (x, 0.74 * tall, z)], coat, 0.2 * tall)
    canvas.line([(x, 0.76 * tall, z), (x + stride, 0.5 * tall, z)], mixed(coat, BLACK, 0.2), 0.07 * tall)
    canvas.ball((x, 0.92 * tall, z), 0.08 * tall, skin)
    canvas.ball((x - 0.01 * tall, 0.95 * tall, z), 0.075 * tall, mixed(skin, BLACK, rng.uniform(0.3, 0.9)))
