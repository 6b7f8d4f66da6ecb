"""Hours and weathers, and the sky that goes with them."""

from __future__ import annotations

import math
from random import Random

from PIL import Image

from tl_demo.canvas import BLACK, WHITE, Canvas, Light, mixed

__all__ = ["daylight", "paint_sky"]


def daylight(rng: Random) -> Light:
    """Return the light of some hour and weather."""
    turn, lift = rng.uniform(-1.1, 1.1), rng.uniform(-14, 14)
    top, bottom, (red, green, blue), contrast, haze, lamps = rng.choice(
        [
            *3 * [((76, 136, 206), (198, 222, 238), (1.04, 1.0, 0.95), 0.42, 0.004, 0.0)],  # a clear day
            *2 * [((140, 148, 158), (206, 210, 214), (0.86, 0.88, 0.92), 0.2, 0.008, 0.0)],  # a grey day
            *2 * [((78, 80, 132), (246, 168, 112), (0.92, 0.72, 0.62), 0.4, 0.008, 0.55)],  # dusk
            ((14, 18, 40), (44, 52, 88), (0.52, 0.55, 0.7), 0.3, 0.006, 1.0),  # night
            ((186, 190, 194), (214, 216, 216), (0.92, 0.92, 0.92), 0.16, 0.02, 0.3),  # mist
        ]
    )
    warm, bright = rng.uniform(-0.07, 0.07), rng.uniform(0.85, 1.1)
    return Light(
        sky_top=(top[0] + lift, top[1] + lift, top[2] + lift / 2),
        sky_bottom=(bottom[0] + lift / 2, bottom[1] + lift / 2, bottom[2] + lift / 2),
        tint=((red + warm) * bright, green * bright, (blue - warm) * bright),
        sun=(0.7 * math.sin(turn), 0.6, 0.7 * math.cos(turn)),
        contrast=contrast * rng.uniform(0.7, 1.2),
        haze=haze * rng.uniform(0.5, 1.5),
        lamps=lamps,
    )


def paint_sky(canvas: Canvas, rng: Random) -> None:
    """Cover the canvas with the sky: its colours, stars at night, sun or moon, clouds."""
    hour, steps = canvas.light, 24
    column = Image.new("RGB", (1, steps))
    horizon = max(0.15, canvas.camera.centre[1] / canvas.side) * steps
    for row in range(steps):
        red, green, blue = mixed(hour.sky_top, hour.sky_bottom, min(1.0, row / horizon) ** 1.3)
        column.putpixel((0, row), (max(0, round(red)), max(0, round(green)), max(0, round(blue))))
    canvas.backdrop(column)
    night = hour.lamps == 1.0
    if night:
        for _ in range(rng.randrange(40)):
            canvas.smudge((rng.random(), rng.random() * 0.6), (0.003, 0.003), WHITE, 0.7)
    if rng.random() < 0.35 and hour.contrast > 0.2:
        disc = (246, 244, 226) if night else (255, 244, 206)
        canvas.smudge((rng.random(), rng.uniform(0.03, 0.3)), (0.05, 0.05), disc, 0.9)
    for _ in range(rng.choice([0, 1, 2, 3, 5])):
        x, y, wide = rng.random(), rng.uniform(0.0, 0.4), rng.uniform(0.08, 0.22)
        cloud = mixed(hour.sky_bottom, BLACK if night else WHITE, rng.uniform(0.2, 0.7))
        for _ in range(4):
            centre = (x + rng.uniform(-0.6, 0.6) * wide, y + rng.uniform(-0.15, 0.15) * wide)
            canvas.smudge(centre, (wide * rng.uniform(0.4, 0.7), wide * rng.uniform(0.12, 0.25)), cloud, 0.55)
