"""What vehicles have in common: paint, wheels, lamps, drivers, and a shadow on the ground.

A vehicle's own x runs forwards from the middle of its length, so each one faces right.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from random import Random
from typing import TypeAlias

from tl_demo.canvas import BLACK, Canvas, Colour, Spot, circle, mixed
from tl_demo.shell import GLASS, Shell

__all__ = [
    "CHROME", "FRAME", "LAMP", "TAIL", "Vehicle", "Wheel", "any_colour", "draw_head", "end_lamps", "on_wheels",
    "paint_colour", "shadow", "wheels",
]  # fmt: skip

LAMP: Colour = (255, 244, 205)
TAIL: Colour = (206, 32, 30)
CHROME: Colour = (196, 200, 204)
TYRE: Colour = (32, 32, 35)
FRAME: Colour = (48, 48, 52)

PAINTS: tuple[Colour, ...] = (
    (238, 238, 234), (238, 238, 234), (188, 192, 196), (126, 132, 138), (48, 50, 56), (48, 50, 56), (186, 34, 38),
    (150, 28, 60), (34, 72, 150), (70, 132, 196), (30, 104, 78), (120, 160, 84), (242, 190, 48), (230, 116, 40),
    (206, 186, 152), (116, 78, 54), (64, 170, 168), (238, 150, 164), (104, 74, 142),
)  # fmt: skip


@dataclass(frozen=True)
class Vehicle:
    """One vehicle: its measures in metres and how it is painted onto a canvas."""

    length: float
    height: float
    width: float
    paint: Callable[[Canvas], None]


def any_colour(rng: Random, low: float = 30, high: float = 235) -> Colour:
    """Return a colour of any kind."""
    return (rng.uniform(low, high), rng.uniform(low, high), rng.uniform(low, high))


def paint_colour(rng: Random) -> Colour:
    """Return a colour that vehicles are painted in, a little off the colour card."""
    red, green, blue = rng.choice(PAINTS)
    return (red + rng.uniform(-14, 14), green + rng.uniform(-14, 14), blue + rng.uniform(-14, 14))


def shadow(canvas: Canvas, length: float, width: float) -> None:
    """Darken the ground under a vehicle, and beside it where the sun is strong."""
    lean = 0.35 * width * canvas.light.contrast
    sun_x, _, sun_z = canvas.light.sun
    for grow, alpha in ((0.16, 0.28), (0.04, 0.34), (-0.06, 0.4)):
        a, b = length / 2 + grow * width, width / 2 + grow * width
        shift = lean if grow > 0.1 else 0.0
        x, z = -sun_x * shift, -sun_z * shift
        corners = [
            (x + a * _squared(math.cos(t)), 0.0, z + b * _squared(math.sin(t)))
            for t in (i * math.tau / 16 for i in range(16))
        ]
        canvas.polygon(corners, (0, 0, 0), alpha=alpha)


def _squared(value: float) -> float:
    """Bend a circle towards a square."""
    return math.copysign(abs(value) ** 0.45, value)


@dataclass(frozen=True)
class Wheel:
    """A wheel at ``x``, standing on the ground."""

    x: float
    radius: float
    rim: Colour
    spokes: int

    def paint_inner(self, canvas: Canvas, width: float) -> None:
        """Paint what the body may cover: the wheel of the far side and the tread of the near one."""
        for z in (-width / 2, -width / 2 + 0.2, width / 2 - 0.22, width / 2 - 0.11):
            canvas.upright(circle(self.x, self.radius, self.radius, 16), z, TYRE)

    def paint_outer(self, canvas: Canvas, width: float, arch: Colour | None, clearance: float) -> None:
        """Paint the arch around the wheel and the wheel itself."""
        z = width / 2 + 0.01
        if arch is not None:
            gap = circle(self.x, self.radius * 1.02, self.radius * 1.2)
            canvas.upright([(x, max(y, clearance)) for x, y in gap], z, arch)
        shade = canvas.light.shade((0, 0, 1))
        canvas.upright(circle(self.x, self.radius, self.radius), z, TYRE)
        disc = [(x, y, z) for x, y in circle(self.x, self.radius, self.radius * 0.64)]
        canvas.polygon(disc, self.rim, shade=shade)
        for index in range(self.spokes):
            turn = math.tau * (index + self.x % 1) / self.spokes
            tip = (self.x + 0.58 * self.radius * math.cos(turn), self.radius + 0.58 * self.radius * math.sin(turn), z)
            canvas.line([(self.x, self.radius, z), tip], mixed(self.rim, BLACK, 0.7), 0.09 * self.radius)
        canvas.upright(circle(self.x, self.radius, self.radius * 0.17, 10), z, mixed(self.rim, BLACK, 0.5))


def wheels(rng: Random, places: Sequence[float], radius: float) -> list[Wheel]:
    """Return equal wheels at the places."""
    rim = rng.choice([CHROME, CHROME, (150, 152, 156), (70, 70, 74), (228, 228, 224)])
    spokes = rng.choice([0, 5, 5, 6, 8])
    return [Wheel(x=x, radius=radius, rim=rim, spokes=spokes) for x in places]


@contextlib.contextmanager
def on_wheels(
    canvas: Canvas, length: float, width: float, axles: Sequence[Wheel], arch: Colour | None, clearance: float
) -> Iterator[None]:
    """Paint a shadow and wheels around the body that is painted inside."""
    shadow(canvas, length, width)
    for wheel in axles:
        wheel.paint_inner(canvas, width)
    yield
    for wheel in axles:
        wheel.paint_outer(canvas, width, arch, clearance)


End: TypeAlias = tuple[Spot, Spot]
"""Where an end face starts and ends, in the direction of the outline."""


def end_lamps(canvas: Canvas, shell: Shell, front: End, rear: End | None, *, plate: Colour) -> None:
    """Paint lamps, grille and number plates onto the front and, where there is one, the rear."""
    lit, dark = canvas.light.lamps > 0.5, (58, 60, 64)
    for u in ((-0.92, -0.55), (0.55, 0.92)):
        shell.across(canvas, *front, (*u, 0.2, 0.42), LAMP, glowing=lit)
    shell.across(canvas, *front, (-0.45, 0.45, 0.22, 0.48), (40, 42, 46))
    shell.across(canvas, *front, (-0.95, 0.95, 0.72, 1.0), dark)
    shell.across(canvas, *front, (-0.28, 0.28, 0.55, 0.7), plate)
    _lamp_at_corner(canvas, shell, front, (0.2, 0.4), -0.22, LAMP)
    if rear is not None:
        for u in ((-0.92, -0.55), (0.55, 0.92)):
            shell.across(canvas, *rear, (*u, 0.52, 0.78), TAIL, glowing=lit)
        shell.across(canvas, *rear, (-0.28, 0.28, 0.45, 0.62), plate)
        shell.across(canvas, *rear, (-0.95, 0.95, 0.0, 0.22), dark)
        _lamp_at_corner(canvas, shell, rear, (0.55, 0.78), 0.18, TAIL)


def _lamp_at_corner(canvas: Canvas, shell: Shell, end: End, shares: Spot, reach: float, colour: Colour) -> None:
    """Let a lamp reach round the corner, so that it is seen from the side as well."""
    (x, y), (x1, y1) = (_between(*end, share) for share in shares)
    shell.patch(canvas, [(x, y), (x1, y1), (x1 + reach, y1), (x + reach, y)], colour, glowing=canvas.light.lamps > 0.5)
    canvas.halo(shell.at(x, (y + y1) / 2, 0.8), 0.25, colour)


def _between(start: Spot, end: Spot, share: float) -> Spot:
    return (start[0] + (end[0] - start[0]) * share, start[1] + (end[1] - start[1]) * share)


def draw_head(canvas: Canvas, shell: Shell, x: float, y: float, size: float, skin: Colour) -> None:
    """Paint a head and shoulders behind the glass of the near side."""
    shoulders = [(x - size, y - size), (x + size, y - size), (x + 0.6 * size, y), (x - 0.6 * size, y)]
    shell.patch(canvas, shoulders, BLACK)
    canvas.ball(shell.at(x, y + 0.55 * size), 0.62 * size, mixed(skin, GLASS, 0.4))
