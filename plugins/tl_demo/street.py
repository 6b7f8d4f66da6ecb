"""The street around a vehicle: hills, houses or trees, pavements and the road."""

from __future__ import annotations

import math
from random import Random

from tl_demo.bodywork import any_colour
from tl_demo.canvas import BLACK, WHITE, Canvas, Colour, mixed
from tl_demo.clutter import LEAVES, OBSTACLES, ROADSIDE, tree
from tl_demo.houses import WALLS, House

__all__ = ["Street"]

GRASS: tuple[Colour, ...] = ((120, 152, 84), (96, 132, 74), (150, 158, 92), (168, 156, 112))
ROADS: tuple[Colour, ...] = ((92, 94, 98), (116, 116, 118), (74, 76, 82), (134, 126, 118), (150, 146, 140))
PAVEMENTS: tuple[Colour, ...] = ((176, 172, 164), (152, 148, 144), (196, 184, 168), (166, 140, 122))
FENCES: tuple[Colour, ...] = (WHITE, (130, 96, 66), (96, 98, 100), (70, 110, 70))


class Street:
    """A street of its own for each picture. ``scale`` stretches all of it, ``room`` is half a vehicle's width."""

    def __init__(self, rng: Random, scale: float, room: float) -> None:
        self.rng = rng
        self.scale = scale
        self.reach = 55 * scale
        self.kerb = -room - rng.uniform(0.3, 3.0) * scale
        self.near_kerb = room + rng.uniform(0.8, 5.0) * scale
        self.kind = rng.choice(["terrace", "terrace", "suburb", "suburb", "city", "park", "country", "yard"])
        garden = rng.uniform(1.0, 5.0) if self.kind in ("suburb", "park") else 0.0
        self.wall = self.kerb - (rng.uniform(1.6, 4.0) + garden) * scale

    def paint_behind(self, canvas: Canvas) -> None:
        """Paint the ground, and what stands behind the vehicle."""
        self._paint_distance(canvas)
        self._paint_ground(canvas)
        {
            "terrace": self._paint_terrace, "city": self._paint_terrace, "suburb": self._paint_suburb,
            "park": self._paint_trees, "country": self._paint_trees, "yard": self._paint_wall,
        }[self.kind](canvas)  # fmt: skip
        if self.kind != "country":
            self._paint_pavement(canvas)
        rng = self.rng
        left, right = canvas.camera.span(self.kerb, canvas.side, self.reach)
        places = [
            (rng.uniform(self.wall + 0.3, self.kerb - 0.2), rng.uniform(left, right)) for _ in range(rng.randint(1, 7))
        ]
        for z, x in sorted(places):
            rng.choice(ROADSIDE)(canvas, rng, x, z, 2.8 * self.scale)

    def paint_before(self, canvas: Canvas, length: float, height: float, nearest: float) -> None:
        """Paint something between the camera and the vehicle, or nothing; ``nearest`` is the largest z."""
        rng, size = self.rng, math.sqrt(length * height)
        for _ in range(rng.choice([0, 0, 0, 1, 1])):
            z = rng.uniform(nearest * 0.35, nearest)
            x = rng.uniform(-0.62, 0.62) * length + canvas.camera.angle * z
            rng.choice(OBSTACLES)(canvas, rng, x, z, size)

    def _paint_distance(self, canvas: Canvas) -> None:
        rng, z, sky = self.rng, self.wall - 30 * self.scale, canvas.light.sky_bottom
        left, right = canvas.camera.span(z, canvas.side, self.reach * 2)
        if rng.random() < 0.5:
            swing, phase, tall = rng.uniform(0.03, 0.12), rng.random() * 6, rng.uniform(3, 9) * self.scale
            steps = [left + (right - left) * index / 14 for index in range(15)]
            ridge = [
                (x, tall * (1 + 0.5 * math.sin(phase + x * swing) + 0.2 * math.sin(2.3 * x * swing))) for x in steps
            ]
            canvas.upright([*ridge, (right, -1), (left, -1)], z, mixed(sky, (70, 96, 90), rng.uniform(0.3, 0.7)))
            return
        x = left
        while x < right:
            wide, tall = rng.uniform(3, 8) * self.scale, rng.uniform(4, 16) * self.scale
            canvas.box(x, -1, wide, tall, z, mixed(sky, rng.choice(WALLS), 0.45))
            x += wide * rng.uniform(1.0, 1.4)

    def _paint_ground(self, canvas: Canvas) -> None:
        rng, near, ends = self.rng, canvas.camera.distance, (-3 * self.reach, 3 * self.reach)
        soil = rng.choice(GRASS if self.kind in ("suburb", "park", "country") else PAVEMENTS)
        canvas.ground(*ends, self.wall - 90 * self.scale, self.kerb, soil)
        road = mixed(rng.choice(ROADS), any_colour(rng, 80, 150), rng.uniform(0, 0.3))
        canvas.ground(*ends, self.kerb, near, road)
        if self.kind != "country" and self.near_kerb < near - 1:
            slab = rng.choice(PAVEMENTS)
            canvas.ground(*ends, self.near_kerb, near, slab)
            canvas.ground(*ends, self.near_kerb, self.near_kerb + 0.15 * self.scale, mixed(slab, WHITE, 0.3))
        for _ in range(rng.randrange(5)):
            x, z = rng.uniform(-8, 8) * self.scale, rng.uniform(self.kerb, self.near_kerb)
            long, deep = rng.uniform(0.4, 3) * self.scale, rng.uniform(0.1, 0.8) * self.scale
            canvas.ground(x, x + long, z, z + deep, mixed(road, rng.choice([BLACK, WHITE]), rng.uniform(0.08, 0.25)))
        self._paint_markings(canvas, road)

    def _paint_markings(self, canvas: Canvas, road: Colour) -> None:
        rng, scale, room = self.rng, self.scale, self.near_kerb - self.kerb
        style = rng.choice(["dashes", "dashes", "line", "zebra", "none"])
        tint = mixed(road, rng.choice([WHITE, WHITE, (240, 196, 70)]), 0.75)
        z = self.kerb + room * rng.choice([0.08, 0.3, 0.75, 0.92])
        start = rng.uniform(-6, 5) * scale
        if style == "line":
            canvas.ground(-self.reach, self.reach, z, z + 0.12 * scale, tint)
        elif style == "dashes":
            for index in range(-6, 7):
                x = start + index * 3.2 * scale
                canvas.ground(x, x + 1.7 * scale, z, z + 0.14 * scale, tint)
        elif style == "zebra":
            for index in range(9):
                z = self.kerb + room * index / 9
                canvas.ground(start, start + 2.6 * scale, z, z + 0.06 * room, tint)

    def _paint_pavement(self, canvas: Canvas) -> None:
        slab, scale, far = self.rng.choice(PAVEMENTS), self.scale, 2 * self.reach
        back = max(self.wall, self.kerb - 3 * scale)
        canvas.ground(-far, far, back, self.kerb, slab)
        for index in range(-6, 7):
            x = index * 1.6 * scale
            canvas.ground(x, x + 0.05 * scale, back, self.kerb, mixed(slab, BLACK, 0.2))
        canvas.ground(-far, far, self.kerb - 0.18 * scale, self.kerb, mixed(slab, WHITE, 0.35))

    def _paint_terrace(self, canvas: Canvas) -> None:
        rng, scale = self.rng, self.scale
        left, right = canvas.camera.span(self.wall, canvas.side, self.reach)
        x = left - rng.uniform(0, 4) * scale
        while x < right:
            wide = rng.uniform(3.5, 8) * scale
            floors = rng.randint(3, 7) if self.kind == "city" else rng.randint(1, 3)
            tall = floors * rng.uniform(2.6, 3.2) * scale
            House(x, self.wall, wide, tall, floors, scale, cottage=False).paint(canvas, rng)
            x += wide + (rng.uniform(0.5, 2.0) * scale if rng.random() < 0.15 else 0)

    def _paint_suburb(self, canvas: Canvas) -> None:
        rng, scale = self.rng, self.scale
        left, right = canvas.camera.span(self.wall, canvas.side, self.reach)
        x = left - rng.uniform(0, 6) * scale
        while x < right:
            wide, floors = rng.uniform(4.5, 8) * scale, rng.randint(1, 2)
            House(x, self.wall, wide, floors * 2.8 * scale, floors, scale, cottage=True).paint(canvas, rng)
            x += wide
            for _ in range(rng.randint(0, 2)):
                tree(canvas, rng, x + rng.uniform(0.5, 3) * scale, self.wall + rng.uniform(0.1, 1) * scale, 3 * scale)
            x += rng.uniform(1.5, 5) * scale
        self._paint_fence(canvas)

    def _paint_trees(self, canvas: Canvas) -> None:
        rng, scale = self.rng, self.scale
        left, right = canvas.camera.span(self.wall, canvas.side, self.reach)
        places = [(rng.uniform(-1, 16), rng.uniform(left - 2, right + 2)) for _ in range(rng.randint(4, 14))]
        for away, x in sorted(places, reverse=True):
            tree(canvas, rng, x * (1 + 0.02 * away), self.wall - away * scale, 3.6 * scale)
        self._paint_fence(canvas)

    def _paint_wall(self, canvas: Canvas) -> None:
        """Paint a long wall of bricks or panels with posters on it."""
        rng, scale, z = self.rng, self.scale, self.wall
        left, right = canvas.camera.span(z, canvas.side, self.reach)
        wall, tall, wide = rng.choice(WALLS), rng.uniform(1.6, 7) * scale, right - left
        canvas.box(left - 1, 0, wide + 2, tall, z, wall)
        if rng.random() < 0.33:
            for index in range(int(wide / (2 * scale)) + 1):
                canvas.box(left + 2 * scale * index, 0, 0.08 * scale, tall, z + 0.02, mixed(wall, BLACK, 0.3))
        else:
            for row in range(1, 12):
                canvas.box(left, tall * row / 12, wide, 0.04 * scale, z + 0.02, mixed(wall, BLACK, 0.22))
        for _ in range(rng.randint(2, 6)):
            x, y = rng.uniform(left, right), rng.uniform(0.1, 0.35) * tall
            poster = (rng.uniform(0.8, 3) * scale, rng.uniform(0.3, 0.6) * tall)
            canvas.box(x, y, *poster, z + 0.04, mixed(wall, any_colour(rng), 0.6))
        canvas.box(left - 1, tall, wide + 2, 0.2 * scale, z, mixed(wall, BLACK, 0.35))

    def _paint_fence(self, canvas: Canvas) -> None:
        """Paint a hedge, a fence or nothing in front of gardens and trees."""
        rng, scale = self.rng, self.scale
        z = min(self.wall + 1.2 * scale, self.kerb - 0.2 * scale)
        left, right = canvas.camera.span(z, canvas.side, self.reach * 0.6)
        wide, tall, kind = right - left, rng.uniform(0.7, 1.3) * scale, rng.choice(["hedge", "fence", "none"])
        if kind == "hedge":
            leaf = rng.choice(LEAVES)
            canvas.box(left, 0, wide, tall, z, leaf)
            for index in range(24):
                place = (left + wide * index / 23, tall, z)
                canvas.ball(place, 0.3 * scale, mixed(leaf, BLACK, rng.uniform(0, 0.15)))
        elif kind == "fence":
            tint, count = rng.choice(FENCES), min(46, int(wide / (0.42 * scale)))
            for index in range(count):
                canvas.box(left + wide * index / count, 0, 0.16 * scale, tall, z, tint)
            for share in (0.3, 0.8):
                canvas.box(left, share * tall, wide, 0.1 * scale, z, mixed(tint, BLACK, 0.1))
