"""What every vehicle on four wheels is made of: a shell with windows and doors, lamps and wheels.

A vehicle's own x runs forwards from the middle of its length, so each one faces right.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from random import Random

from tl_data.drawn_vehicles.canvas import BLACK, WHITE, Canvas, Colour, Point, Spot, circle, mixed

__all__ = ["GLASS", "Shell", "Vehicle", "Wheel", "any_colour", "block", "paint_colour", "shadow"]

GLASS: Colour = (62, 80, 96)
LAMP: Colour = (255, 244, 205)
TAIL: Colour = (206, 32, 30)
TYRE: Colour = (32, 32, 35)

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
            (x + a * _round(math.cos(t)), 0.0, z + b * _round(math.sin(t))) for t in (i * math.tau / 16 for i in range(16))
        ]
        canvas.polygon(corners, (0, 0, 0), alpha=alpha)


def _round(value: float) -> float:
    """Bend a circle towards a square."""
    return math.copysign(abs(value) ** 0.45, value)


@dataclass(frozen=True)
class Shell:
    """A side view drawn through the width: ``outline`` runs from the lower rear over the top to the lower front.

    Each corner names the material of the edge that leaves it: ``paint``, ``glass``, ``dark`` or ``bed``. Above
    ``belt`` metres the sides lean inwards until the roof is narrower by the share ``taper``.
    """

    outline: Sequence[tuple[float, float, str]]
    width: float
    colour: Colour
    belt: float = 0.0
    taper: float = 0.0
    middle: float = 0.0
    softness: float = 0.12

    @property
    def top(self) -> float:
        """Height of the highest corner."""
        return max(y for _, y, _ in self.outline)

    def at(self, x: float, y: float, side: float = 1.0) -> Point:
        """Return the point of the near side (1), the far side (-1) or in between at (x, y)."""
        lean = self.taper * max(0.0, y - self.belt) / max(0.01, self.top - self.belt)
        return (x, y, self.middle + side * self.width / 2 * (1 - lean))

    def patch(self, canvas: Canvas, spots: Sequence[Spot], colour: Colour, *, glowing: bool = False) -> None:
        """Paint something flat onto the near side."""
        shade = canvas.light.shade((0, 0, 1))
        canvas.polygon([self.at(x, y) for x, y in spots], colour, shade=shade, glowing=glowing)

    def seam(self, canvas: Canvas, spots: Sequence[Spot], colour: Colour, width: float = 0.02) -> None:
        """Draw a line onto the near side, such as the gap around a door."""
        canvas.line([self.at(x, y) for x, y in spots], colour, width, shade=canvas.light.shade((0, 0, 1)))

    def across(
        self, canvas: Canvas, start: Spot, end: Spot, patch: tuple[float, float, float, float], colour: Colour,
        *, glowing: bool = False,
    ) -> None:  # fmt: skip
        """Paint a patch onto an end face that runs from start to end as the outline does.

        ``patch`` is (u0, u1, v0, v1): from u0 up to u1 across (-1 is the far side), from v0 up to v1 of the way.
        """
        u0, u1, v0, v1 = patch
        (x, y), (x1, y1) = start, end
        low, high = (x + (x1 - x) * v0, y + (y1 - y) * v0), (x + (x1 - x) * v1, y + (y1 - y) * v1)
        quad = [self.at(*low, u1), self.at(*low, u0), self.at(*high, u0), self.at(*high, u1)]
        if faces(canvas, quad):
            normal = _normal(start, end)
            canvas.polygon(quad, colour, shade=canvas.light.shade(normal), glowing=glowing)

    def paint(self, canvas: Canvas) -> None:
        """Paint the faces that are in sight from back to front, the near side last."""
        edges = _softened(self.outline, self.softness)
        strips = []
        for (x, y, material), (x1, y1, _) in zip(edges, edges[1:] + edges[:1], strict=True):
            quad = [self.at(x, y, 1), self.at(x, y, -1), self.at(x1, y1, -1), self.at(x1, y1, 1)]
            if faces(canvas, quad):
                strips.append((canvas.camera.depth((x + x1) / 2, self.middle), (x, y), (x1, y1), material, quad))
        for _, start, end, material, quad in sorted(strips, key=lambda strip: -strip[0]):
            shade = canvas.light.shade(_normal(start, end))
            canvas.polygon(quad, self._material(material), shade=shade)
            if material == "glass":
                self.across(canvas, start, end, (-1, -0.9, 0, 1), self.colour)
                self.across(canvas, start, end, (0.9, 1, 0, 1), self.colour)
                self.across(canvas, start, end, (-0.5, -0.2, 0.1, 0.9), mixed(GLASS, WHITE, 0.25))
        side = [self.at(x, y) for x, y, _ in edges]
        canvas.polygon(side, self.colour, shade=canvas.light.shade((0, 0, 1)))

    def _material(self, name: str) -> Colour:
        return {"glass": GLASS, "dark": (44, 44, 48), "bed": (54, 52, 50)}.get(name, self.colour)


def faces(canvas: Canvas, quad: Sequence[Point]) -> bool:
    """Return whether the outer side of a quadrilateral is turned to the camera."""
    spots = canvas.camera.project(quad)
    area = sum(x * y1 - x1 * y for (x, y), (x1, y1) in zip(spots, spots[1:] + spots[:1], strict=True))
    return area > 0


def _normal(start: Spot, end: Spot) -> Point:
    along, up = end[0] - start[0], end[1] - start[1]
    length = math.hypot(along, up) or 1.0
    return (-up / length, along / length, 0.0)


def _softened(outline: Sequence[tuple[float, float, str]], radius: float) -> list[tuple[float, float, str]]:
    """Replace each corner by three that go round it."""
    soft = []
    for index, (x, y, material) in enumerate(outline):
        x0, y0, before = outline[index - 1]
        x1, y1, _ = outline[(index + 1) % len(outline)]
        into = min(0.45, radius / (math.hypot(x - x0, y - y0) or 1.0))
        out = min(0.45, radius / (math.hypot(x1 - x, y1 - y) or 1.0))
        a = (x + (x0 - x) * into, y + (y0 - y) * into)
        b = (x + (x1 - x) * out, y + (y1 - y) * out)
        corner = "paint" if before != material else material
        soft += [(*a, corner), ((a[0] + 2 * x + b[0]) / 4, (a[1] + 2 * y + b[1]) / 4, corner), (*b, material)]
    return soft


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


def block(
    canvas: Canvas, x: float, y: float, z: float, measures: Point, colour: Colour, *, softness: float = 0.02
) -> None:
    """Paint a box with its lower rear corner at (x, y), ``z`` in the middle of its width; measures along x, y, z."""
    length, height, width = measures
    corners = [(x, y), (x, y + height), (x + length, y + height), (x + length, y)]
    outline = [(a, b, "paint") for a, b in corners]
    Shell(outline=outline, width=width, colour=colour, middle=z, softness=softness).paint(canvas)
