"""Sedans, SUVs and pick-ups: a bonnet, a glasshouse and what stands behind it."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random

from tl_data.drawn_vehicles.bodywork import (
    GLASS,
    LAMP,
    TAIL,
    Shell,
    Vehicle,
    Wheel,
    any_colour,
    block,
    paint_colour,
    shadow,
)
from tl_data.drawn_vehicles.canvas import BLACK, WHITE, Canvas, Colour, Spot, mixed

__all__ = ["draw_head", "end_lamps", "pickup", "sedan", "suv", "wheels"]

CHROME: Colour = (196, 200, 204)


def wheels(rng: Random, places: Sequence[float], radius: float) -> list[Wheel]:
    """Return equal wheels at the places."""
    rim = rng.choice([CHROME, CHROME, (150, 152, 156), (70, 70, 74), (228, 228, 224)])
    spokes = rng.choice([0, 5, 5, 6, 8])
    return [Wheel(x=x, radius=radius, rim=rim, spokes=spokes) for x in places]


def end_lamps(canvas: Canvas, shell: Shell, front: tuple[Spot, Spot], rear: tuple[Spot, Spot], *, plate: Colour) -> None:
    """Paint lamps, grille and number plates onto the ends; each end is given as (start, end) along the outline."""
    for u in ((-0.92, -0.55), (0.55, 0.92)):
        shell.across(canvas, *front, (*u, 0.2, 0.42), LAMP, glowing=canvas.light.lamps > 0.5)
        shell.across(canvas, *rear, (*u, 0.52, 0.78), TAIL, glowing=canvas.light.lamps > 0.5)
    shell.across(canvas, *front, (-0.45, 0.45, 0.22, 0.48), (40, 42, 46))
    shell.across(canvas, *front, (-0.95, 0.95, 0.72, 1.0), (58, 60, 64))
    shell.across(canvas, *front, (-0.28, 0.28, 0.55, 0.7), plate)
    shell.across(canvas, *rear, (-0.28, 0.28, 0.45, 0.62), plate)
    shell.across(canvas, *rear, (-0.95, 0.95, 0.0, 0.22), (58, 60, 64))
    # The lamps reach round the corners, so that they are seen from the side as well.
    (x, y), (x1, y1) = front
    shell.patch(canvas, _at_end(x, y, x1, y1, 0.2, 0.4, -0.22), LAMP, glowing=canvas.light.lamps > 0.5)
    canvas.halo(shell.at(x, y + (y1 - y) * 0.3, 0.8), 0.45, (255, 240, 190))
    (x, y), (x1, y1) = rear
    shell.patch(canvas, _at_end(x, y, x1, y1, 0.55, 0.78, 0.18), TAIL, glowing=canvas.light.lamps > 0.5)
    canvas.halo(shell.at(x, y + (y1 - y) * 0.65, 0.8), 0.25, (230, 40, 30))


def _at_end(x: float, y: float, x1: float, y1: float, v0: float, v1: float, reach: float) -> list[Spot]:
    low, high = (x + (x1 - x) * v0, y + (y1 - y) * v0), (x + (x1 - x) * v1, y + (y1 - y) * v1)
    return [low, high, (high[0] + reach, high[1]), (low[0] + reach, low[1])]


def draw_head(canvas: Canvas, shell: Shell, x: float, y: float, size: float, skin: Colour) -> None:
    """Paint a driver's head and shoulders behind the glass."""
    dim = mixed(skin, GLASS, 0.4)
    shell.patch(canvas, [(x - size, y - size), (x + size, y - size), (x + 0.6 * size, y), (x - 0.6 * size, y)], BLACK)
    canvas.ball(shell.at(x, y + 0.55 * size), 0.62 * size, dim)


class _Glasshouse:
    """The side windows between rear window and windscreen, and the doors below them."""

    def __init__(self, shell: Shell, base: tuple[float, float], roof: tuple[float, float], belt: float) -> None:
        self.shell = shell
        self.base = base
        self.roof = roof
        self.belt = belt
        self.top = shell.top - 0.1

    def slope(self, share: float, y: float) -> Spot:
        """Return the point that lies ``share`` of the way from the rear edge to the front edge, at height ``y``."""
        rise = (y - self.belt) / (self.shell.top - self.belt)
        rear = self.base[0] + (self.roof[0] - self.base[0]) * rise
        front = self.base[1] + (self.roof[1] - self.base[1]) * rise
        return (rear + (front - rear) * share, y)

    def paint(self, canvas: Canvas, panes: Sequence[tuple[float, float]], driver: Colour | None) -> None:
        """Paint panes, each given by its shares of the way from the rear to the front."""
        middle = self.belt + 0.04
        for start, end in panes:
            pane = [
                self.slope(start, middle), self.slope(start, self.top), self.slope(end, self.top), self.slope(end, middle)
            ]  # fmt: skip
            self.shell.patch(canvas, pane, GLASS)
        if driver is not None:
            start, end = panes[-1]
            x, y = self.slope(start * 0.65 + end * 0.35, middle)
            draw_head(canvas, self.shell, x, y + 0.13, 0.16, driver)
        for start, end in panes:
            shine = [
                self.slope(start + (end - start) * a, b)
                for a, b in ((0.3, middle), (0.5, self.top), (0.68, self.top), (0.48, middle))
            ]
            self.shell.patch(canvas, shine, mixed(GLASS, WHITE, 0.22))

    def doors(self, canvas: Canvas, posts: Sequence[float], sill: float) -> None:
        """Draw the gaps around the doors and their handles."""
        gap = mixed(self.shell.colour, BLACK, 0.55)
        for share in posts:
            x, y = self.slope(share, self.belt)
            self.shell.seam(canvas, [(x, sill), (x, y)], gap)
        for share in posts[1:]:
            x, y = self.slope(share, self.belt)
            handle = [(x - 0.34, y - 0.1), (x - 0.34, y - 0.06), (x - 0.14, y - 0.06), (x - 0.14, y - 0.1)]
            self.shell.patch(canvas, handle, mixed(self.shell.colour, BLACK, 0.65))


def _flanks(canvas: Canvas, shell: Shell, length: float, low: float, high: float, skirt: Colour) -> None:
    """Paint the light along the shoulder and the skirt below the doors."""
    a, b = -0.47 * length, 0.46 * length
    lighter = mixed(shell.colour, WHITE, 0.28)
    shell.patch(canvas, [(a, high - 0.09), (a, high - 0.03), (b, high - 0.1), (b, high - 0.16)], lighter)
    shell.patch(canvas, [(a, low), (a, low + 0.12), (b, low + 0.12), (b, low)], skirt)


def sedan(rng: Random) -> Vehicle:
    """Return a car of three boxes: bonnet, cabin, boot."""
    length, height, width = rng.uniform(4.4, 5.0), rng.uniform(1.38, 1.5), 1.8
    clear, radius = rng.uniform(0.17, 0.22), rng.uniform(0.31, 0.35)
    belt, deck, bonnet = 0.64 * height, rng.uniform(0.63, 0.69) * height, rng.uniform(0.58, 0.64) * height
    back, front = -length / 2, length / 2
    base = (rng.uniform(-0.31, -0.27) * length, rng.uniform(0.2, 0.24) * length)
    roof = (base[0] + rng.uniform(0.1, 0.15) * length, base[1] - rng.uniform(0.13, 0.16) * length)
    tail, nose = (back + 0.05, deck), (front - 0.08, 0.52 * height)
    outline = [
        (back + 0.06, clear, "paint"), (back, clear + 0.14, "paint"), (*tail, "paint"), (base[0], belt + 0.04, "glass"),
        (roof[0], height, "paint"), (roof[1], height, "paint" if roof[1] < base[1] else "glass"),
        (base[1], bonnet + 0.05, "paint"), (*nose, "paint"), (front, clear + 0.16, "paint"),
        (front - 0.06, clear, "dark"),
    ]  # fmt: skip
    outline[5] = (roof[1], height, "glass")
    colour = paint_colour(rng)
    shell = Shell(outline, width, colour, belt=belt, taper=0.24)
    round_wheels = wheels(rng, (-0.3 * length, 0.31 * length), radius)
    skirt = mixed(colour, BLACK, rng.choice([0.25, 0.75]))
    driver = any_colour(rng, 90, 220) if rng.random() < 0.6 else None
    taxi = rng.random() < 0.08

    def paint(canvas: Canvas) -> None:
        shadow(canvas, length, width)
        for wheel in round_wheels:
            wheel.paint_inner(canvas, width)
        shell.paint(canvas)
        _flanks(canvas, shell, length, clear, bonnet, skirt)
        cabin = _Glasshouse(shell, base, roof, belt)
        cabin.paint(canvas, ((0.12, 0.5), (0.54, 0.92)), driver)
        cabin.doors(canvas, (0.1, 0.52, 0.97), clear + 0.12)
        end_lamps(canvas, shell, (nose, (front, clear)), ((back, clear), tail), plate=WHITE)
        _mirror(canvas, shell, (base[1] - 0.28, belt + 0.1))
        if taxi:
            block(canvas, (roof[0] + roof[1]) / 2, height, 0, (0.25, 0.14, 0.5), (250, 214, 60))
        for wheel in round_wheels:
            wheel.paint_outer(canvas, width, mixed(colour, BLACK, 0.8), clear)

    return Vehicle(length, height, width, paint)


def suv(rng: Random) -> Vehicle:
    """Return a tall car of two boxes with much air under it."""
    length, height, width = rng.uniform(4.2, 4.9), rng.uniform(1.72, 1.9), 1.95
    clear, radius = rng.uniform(0.3, 0.36), rng.uniform(0.39, 0.44)
    belt, bonnet = 0.62 * height, rng.uniform(0.58, 0.62) * height
    back, front = -length / 2, length / 2
    base = (back + 0.12, rng.uniform(0.19, 0.23) * length)
    roof = (back + rng.uniform(0.2, 0.4), base[1] - rng.uniform(0.07, 0.11) * length)
    tail, nose = (back + 0.03, belt), (front - 0.05, bonnet - 0.08)
    outline = [
        (back + 0.1, clear, "paint"), (back, clear + 0.2, "paint"), (*tail, "glass"), (roof[0], height, "paint"),
        (roof[1], height, "glass"), (base[1], bonnet + 0.04, "paint"), (*nose, "paint"), (front, clear + 0.22, "dark"),
        (front - 0.14, clear, "dark"),
    ]  # fmt: skip
    colour = paint_colour(rng)
    shell = Shell(outline, width, colour, belt=belt, taper=0.14)
    round_wheels = wheels(rng, (-0.3 * length, 0.31 * length), radius)
    plastic = mixed((52, 53, 56), colour, rng.choice([0, 0, 0.5]))
    driver = any_colour(rng, 90, 220) if rng.random() < 0.6 else None
    rails, spare, luggage = rng.random() < 0.7, rng.random() < 0.4, rng.random() < 0.2

    def paint(canvas: Canvas) -> None:
        shadow(canvas, length, width)
        for wheel in round_wheels:
            wheel.paint_inner(canvas, width)
        if spare and canvas.camera.angle >= 0:
            _spare_wheel(canvas, back, belt - 0.1)
        shell.paint(canvas)
        _flanks(canvas, shell, length, clear, bonnet, plastic)
        cabin = _Glasshouse(shell, base, roof, belt)
        cabin.paint(canvas, ((0.04, 0.27), (0.31, 0.6), (0.64, 0.94)), driver)
        cabin.doors(canvas, (0.29, 0.62, 0.98), clear + 0.12)
        end_lamps(canvas, shell, (nose, (front, clear)), ((back, clear), tail), plate=WHITE)
        _mirror(canvas, shell, (base[1] - 0.2, belt + 0.12))
        if spare and canvas.camera.angle < 0:
            _spare_wheel(canvas, back, belt - 0.1)
        if luggage:
            block(canvas, roof[0] + 0.3, height + 0.06, 0, (1.6, 0.26, 0.8), mixed(colour, BLACK, 0.7), softness=0.2)
        if rails:
            for side in (-0.8, 0.8):
                ends = [shell.at(x, height + 0.05, side) for x in (roof[0] + 0.1, roof[1] - 0.15)]
                canvas.line(ends, CHROME, 0.04)
        for wheel in round_wheels:
            wheel.paint_outer(canvas, width, plastic, clear)

    return Vehicle(length, height, width, paint)


def pickup(rng: Random) -> Vehicle:
    """Return a pick-up truck: bonnet, cab and an open bed, which may be loaded."""
    length, height, width = rng.uniform(5.0, 5.7), rng.uniform(1.75, 1.92), 1.95
    clear, radius = rng.uniform(0.34, 0.42), rng.uniform(0.38, 0.44)
    belt, bonnet, rail = 0.63 * height, rng.uniform(0.58, 0.62) * height, rng.uniform(0.57, 0.62) * height
    back, front, crew = -length / 2, length / 2, rng.random() < 0.45
    wall = (-0.14 if crew else 0.0) * length + rng.uniform(-0.1, 0.1)
    base = (wall, rng.uniform(0.23, 0.26) * length)
    roof = (wall + 0.12, base[1] - rng.uniform(0.07, 0.1) * length)
    tail, nose = (back + 0.02, rail), (front - 0.05, bonnet - 0.08)
    outline = [
        (back + 0.04, clear, "paint"), (*tail, "bed"), (wall - 0.02, rail, "paint"), (wall, belt, "glass"),
        (roof[0], height, "paint"), (roof[1], height, "glass"), (base[1], bonnet + 0.04, "paint"), (*nose, "paint"),
        (front, clear + 0.2, "dark"), (front - 0.12, clear, "dark"),
    ]  # fmt: skip
    colour = paint_colour(rng)
    shell = Shell(outline, width, colour, belt=belt, taper=0.16, softness=0.08)
    round_wheels = wheels(rng, (-0.3 * length, 0.32 * length), radius)
    driver = any_colour(rng, 90, 220) if rng.random() < 0.6 else None
    load = _load(rng, back + 0.15, wall - 0.15, rail, width) if rng.random() < 0.55 else []

    def paint(canvas: Canvas) -> None:
        shadow(canvas, length, width)
        for wheel in round_wheels:
            wheel.paint_inner(canvas, width)
        shell.paint(canvas)
        for x, size, tint in load:
            block(canvas, x, rail - 0.05, 0, size, tint)
        shell.patch(canvas, [(back + 0.05, rail - 0.12), (back + 0.05, rail), (wall, rail), (wall, rail - 0.12)], colour)
        _flanks(canvas, shell, length, clear, min(bonnet, rail), mixed(colour, BLACK, 0.6))
        cabin = _Glasshouse(shell, base, roof, belt)
        cabin.paint(canvas, ((0.06, 0.44), (0.5, 0.94)) if crew else ((0.1, 0.92),), driver)
        cabin.doors(canvas, (0.02, 0.47, 0.99) if crew else (0.04, 0.99), clear + 0.12)
        shell.seam(canvas, [(wall - 0.06, clear + 0.12), (wall - 0.06, rail)], mixed(colour, BLACK, 0.7), 0.05)
        end_lamps(canvas, shell, (nose, (front, clear)), ((back, clear), tail), plate=WHITE)
        _mirror(canvas, shell, (base[1] - 0.2, belt + 0.12))
        for wheel in round_wheels:
            wheel.paint_outer(canvas, width, mixed(colour, BLACK, 0.85), clear)

    return Vehicle(length, height, width, paint)


def _load(
    rng: Random, start: float, end: float, floor: float, width: float
) -> list[tuple[float, tuple[float, float, float], Colour]]:
    """Return crates that stand in a bed: where, their measures, their colours."""
    crates = []
    x = start
    while x < end - 0.4:
        length = min(rng.uniform(0.4, 0.9), end - x)
        measures = (length, rng.uniform(0.2, 0.55), width * rng.uniform(0.5, 0.85))
        wood = rng.choice([(176, 132, 82), (140, 104, 66), (214, 190, 120), (90, 120, 80), (120, 126, 132)])
        crates.append((x, measures, wood))
        x += length + rng.uniform(0.03, 0.5)
    return crates


def _mirror(canvas: Canvas, shell: Shell, spot: Spot) -> None:
    x, y = spot
    near = shell.at(x, y)[2]
    block(canvas, x, y - 0.08, near + 0.1, (0.12, 0.14, 0.18), mixed(shell.colour, BLACK, 0.5))


def _spare_wheel(canvas: Canvas, back: float, y: float) -> None:
    wheel = [(-0.3, 0.0), (-0.21, 0.21), (0.0, 0.3), (0.21, 0.21), (0.3, 0.0), (0.21, -0.21), (0.0, -0.3), (-0.21, -0.21)]
    for x, colour in ((back + 0.02, BLACK), (back - 0.1, BLACK), (back - 0.18, BLACK), (back - 0.19, (120, 122, 126))):
        share = 0.6 if colour != BLACK else 1.15
        canvas.polygon([(x, y + share * b, share * a) for a, b in wheel], colour)
