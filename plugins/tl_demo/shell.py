"""A side view drawn through its width: the solid that vehicles are built from."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from tl_demo.canvas import WHITE, Canvas, Colour, Point, Spot, mixed

__all__ = ["GLASS", "Shell", "block", "oblong"]

GLASS: Colour = (62, 80, 96)


def oblong(x: float, y: float, x1: float, y1: float) -> list[Spot]:
    """Return the corners of an upright rectangle, in the order of an outline."""
    return [(x, y), (x, y1), (x1, y1), (x1, y)]


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


def block(
    canvas: Canvas, x: float, y: float, z: float, measures: Point, colour: Colour, *, softness: float = 0.02
) -> None:
    """Paint a box with its lower rear corner at (x, y), ``z`` in the middle of its width; measures along x, y, z."""
    length, height, width = measures
    outline = [(a, b, "paint") for a, b in oblong(x, y, x + length, y + height)]
    Shell(outline=outline, width=width, colour=colour, middle=z, softness=softness).paint(canvas)
