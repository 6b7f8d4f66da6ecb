"""A small theatre: points in metres, an upright camera, a light, and polygons painted from back to front.

The world's x runs along the street, y up, z from the houses towards the camera; the vehicle stands at x = z = 0.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

from PIL import Image, ImageChops, ImageDraw, ImageFilter

__all__ = ["BLACK", "WHITE", "Camera", "Canvas", "Colour", "Light", "Point", "Spot", "circle", "mixed"]

Point: TypeAlias = tuple[float, float, float]
Spot: TypeAlias = tuple[float, float]
Colour: TypeAlias = tuple[float, float, float]

BLACK: Colour = (14, 14, 16)
WHITE: Colour = (244, 243, 238)

OVERSAMPLING = 2
"""Pixels of the canvas for one of the picture, in each direction: what smooths the edges."""

NEAR = 0.25
"""Metres in front of the camera within which nothing is seen."""


def mixed(first: Colour, second: Colour, share: float) -> Colour:
    """Return the colour that holds ``share`` of the second and the rest of the first."""
    a, b, c = first
    d, e, f = second
    return (a + (d - a) * share, b + (e - b) * share, c + (f - c) * share)


def circle(x: float, y: float, radius: float, corners: int = 20) -> list[Spot]:
    """Return the corners of a polygon that passes for a circle."""
    step = math.tau / corners
    return [(x + radius * math.cos(step * i), y + radius * math.sin(step * i)) for i in range(corners)]


@dataclass(frozen=True)
class Camera:
    """A pinhole camera that looks at the y axis from ``angle`` radians to the right; upright lines stay upright.

    ``focal`` and ``centre`` are in pixels of the canvas, ``distance`` and ``height`` in metres.
    """

    angle: float
    distance: float
    height: float
    focal: float = 1.0
    centre: Spot = (0.0, 0.0)
    roll: float = 0.0
    _turn: tuple[float, float, float, float] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        turn = (math.cos(self.angle), math.sin(self.angle), math.cos(self.roll), math.sin(self.roll))
        object.__setattr__(self, "_turn", turn)

    def depth(self, x: float, z: float) -> float:
        """Return how far a place on the ground lies in front of the camera, in metres."""
        cos, sin, _, _ = self._turn
        return float(self.distance - x * sin - z * cos)

    def project(self, points: Iterable[Point]) -> list[Spot]:
        """Return where a polygon stands on the canvas; what lies too near to be seen is cut off."""
        cos, sin, roll_cos, roll_sin = self._turn
        seen = [(x * cos - z * sin, y - self.height, self.distance - x * sin - z * cos) for x, y, z in points]
        if any(depth < NEAR for _, _, depth in seen):
            seen = _cut(seen)
        centre_x, centre_y = self.centre
        spots = []
        for right, up, depth in seen:
            across, down = self.focal * right / depth, -self.focal * up / depth
            spots.append(
                (centre_x + across * roll_cos - down * roll_sin, centre_y + across * roll_sin + down * roll_cos)
            )
        return spots

    def span(self, z: float, width: float, reach: float) -> Spot:
        """Return from which x to which x the plane at ``z`` is in sight, at most ``reach`` metres to each side."""
        cos, sin, _, _ = self._turn
        ends = []
        for pixel, limit in ((-0.1 * width, -reach), (1.1 * width, reach)):
            right = (pixel - self.centre[0]) / self.focal
            x, away = right * cos - sin, right * sin + cos
            ends.append(limit if away < 0.05 else self.distance * sin + x * (self.distance * cos - z) / away)
        return max(ends[0], -reach), min(ends[1], reach)


def _cut(seen: list[Point]) -> list[Point]:
    kept: list[Point] = []
    for (right, up, depth), (right2, up2, depth2) in zip(seen, [*seen[1:], *seen[:1]], strict=True):
        if depth >= NEAR:
            kept.append((right, up, depth))
        if (depth >= NEAR) != (depth2 >= NEAR):
            share = (NEAR - depth) / (depth2 - depth)
            kept.append((right + (right2 - right) * share, up + (up2 - up) * share, NEAR))
    return kept


@dataclass(frozen=True)
class Light:
    """The time of day and the weather. ``sun`` points to the light; ``haze`` is what a metre of air takes away."""

    sky_top: Colour
    sky_bottom: Colour
    tint: Colour
    sun: Point
    contrast: float
    haze: float
    lamps: float
    """How brightly lamps shine: 0 in full daylight, 1 at night."""

    def on(self, colour: Colour, shade: float, depth: float) -> tuple[int, int, int]:
        """Return how a surface of this colour looks from ``depth`` metres away."""
        air = 1 - math.exp(-self.haze * depth)
        channels = (
            part * tint * shade * (1 - air) + sky * air
            for part, tint, sky in zip(colour, self.tint, self.sky_bottom, strict=True)
        )
        red, green, blue = (max(0, min(255, round(channel))) for channel in channels)
        return red, green, blue

    def shade(self, normal: Point) -> float:
        """Return how much light falls on a surface, 1 where it faces the sun."""
        facing = sum(a * b for a, b in zip(normal, self.sun, strict=True))
        return 1 - self.contrast * (1 - max(0.0, facing))


class Canvas:
    """Paints what the camera sees in the light of the day; what is painted later covers what was there."""

    def __init__(self, size: int, camera: Camera, light: Light) -> None:
        self.side = size * OVERSAMPLING
        self.camera = camera
        self.light = light
        self.image = Image.new("RGB", (self.side, self.side))
        self._pen = ImageDraw.Draw(self.image, "RGBA")
        self._halos: list[tuple[Spot, float, Colour]] = []

    def polygon(
        self, points: Sequence[Point], colour: Colour, *, shade: float = 1.0, alpha: float = 1.0, glowing: bool = False
    ) -> None:
        """Fill a polygon of the world; a glowing one keeps its colour in the dark."""
        spots = self.camera.project(points)
        if len(spots) > 2:
            self._pen.polygon(spots, self._ink(colour, points[0], shade, alpha, glowing))

    def upright(self, spots: Iterable[Spot], z: float, colour: Colour, *, glowing: bool = False) -> None:
        """Fill a polygon that stands upright at ``z``, parallel to the street."""
        self.polygon([(x, y, z) for x, y in spots], colour, glowing=glowing)

    def box(
        self, x: float, y: float, width: float, height: float, z: float, colour: Colour, *, glowing: bool = False
    ) -> None:
        """Fill an upright rectangle at ``z`` whose lower left corner is (x, y)."""
        right, top = x + width, y + height
        self.polygon([(x, y, z), (right, y, z), (right, top, z), (x, top, z)], colour, glowing=glowing)

    def ground(self, x0: float, x1: float, z0: float, z1: float, colour: Colour, *, alpha: float = 1.0) -> None:
        """Fill a rectangle on the ground."""
        self.polygon([(x0, 0, z0), (x1, 0, z0), (x1, 0, z1), (x0, 0, z1)], colour, alpha=alpha)

    def line(self, points: Sequence[Point], colour: Colour, width: float, *, shade: float = 1.0) -> None:
        """Draw a line with round ends through points, ``width`` metres thick."""
        if min(self.camera.depth(x, z) for x, _, z in points) < NEAR:
            return
        spots = self.camera.project(points)
        x, _, z = points[len(points) // 2]
        thick = max(1.0, width * self.camera.focal / self.camera.depth(x, z))
        ink = self._ink(colour, points[0], shade, 1.0, False)
        self._pen.line(spots, ink, round(thick), joint="curve")
        if thick > 3:
            for x, y in spots:
                self._pen.ellipse((x - thick / 2, y - thick / 2, x + thick / 2, y + thick / 2), ink)

    def ball(self, point: Point, radius: float, colour: Colour, *, shade: float = 1.0, glowing: bool = False) -> None:
        """Draw a ball: a disc that faces the camera."""
        x, _, z = point
        depth = self.camera.depth(x, z)
        if depth > NEAR:
            ((x, y),) = self.camera.project([point])
            r = radius * self.camera.focal / depth
            self._pen.ellipse((x - r, y - r, x + r, y + r), self._ink(colour, point, shade, 1.0, glowing))

    def halo(self, point: Point, radius: float, colour: Colour) -> None:
        """Let a lamp shine around itself, as much as the hour asks for."""
        x, _, z = point
        depth = self.camera.depth(x, z)
        if depth > NEAR and self.light.lamps > 0.2:
            ((x, y),) = self.camera.project([point])
            self._halos.append(((x, y), radius * self.camera.focal / depth, mixed((0, 0, 0), colour, self.light.lamps)))

    def backdrop(self, image: Image.Image) -> None:
        """Cover the whole canvas with a picture."""
        self.image.paste(image.resize((self.side, self.side), Image.Resampling.BICUBIC))

    def smudge(self, centre: Spot, radii: Spot, colour: Colour, alpha: float) -> None:
        """Draw an ellipse of the sky; centre and radii are shares of the canvas."""
        (x, y), (a, b) = ((value * self.side for value in pair) for pair in (centre, radii))
        ink = (*(max(0, min(255, round(part))) for part in colour), round(255 * alpha))
        self._pen.ellipse((x - a, y - b, x + a, y + b), ink)

    def finished(self) -> Image.Image:
        """Return the picture at its own size, with the light of its lamps."""
        image = self.image.reduce(OVERSAMPLING)
        if not self._halos:
            return image
        scale = 4 * OVERSAMPLING
        glow = Image.new("RGB", (-(-self.side // scale), -(-self.side // scale)))
        for (x, y), radius, colour in self._halos:
            layer = Image.new("RGB", glow.size)
            r = max(1.0, radius / scale)
            box = (x / scale - r, y / scale - r, x / scale + r, y / scale + r)
            red, green, blue = (round(part) for part in colour)
            ImageDraw.Draw(layer).ellipse(box, (red, green, blue))
            glow = ImageChops.screen(glow, layer.filter(ImageFilter.BoxBlur(r * 0.7)))
        return ImageChops.screen(image, glow.resize(image.size, Image.Resampling.BICUBIC))

    def _ink(
        self, colour: Colour, point: Point, shade: float, alpha: float, glowing: bool
    ) -> tuple[int, int, int, int]:
        if glowing:
            red, green, blue = (round(min(255, part)) for part in colour)
        else:
            x, _, z = point
            red, green, blue = self.light.on(colour, shade, max(NEAR, self.camera.depth(x, z)))
        return red, green, blue, round(255 * alpha)
