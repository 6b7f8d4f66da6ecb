"""Lorries: a cab, a frame, and a body for the load."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from random import Random
from typing import TypeAlias

from tl_demo.bodywork import FRAME, TAIL, Vehicle, any_colour, draw_head, end_lamps, on_wheels, paint_colour, wheels
from tl_demo.canvas import BLACK, Canvas, Colour, Spot, circle, mixed
from tl_demo.people import passenger
from tl_demo.shell import GLASS, Shell, block, oblong

__all__ = ["lorry"]

Painter: TypeAlias = Callable[[Canvas], None]

EARTH: tuple[Colour, ...] = ((134, 100, 70), (160, 140, 110), (110, 110, 112), (196, 170, 120))


@dataclass(frozen=True)
class _Cab:
    """A lorry's cab between its rear wall and the front of its nose; the windscreen meets the nose at ``screen``."""

    shell: Shell
    wall: float
    screen: float
    front: float
    hood: float
    driver: Colour | None

    def paint(self, canvas: Canvas) -> None:
        """Paint the cab."""
        shell, wall, screen, hood = self.shell, self.wall, self.screen, self.hood
        shell.paint(canvas)
        high = shell.top - 0.2
        window = [(wall + 0.25, hood + 0.06), (wall + 0.25, high), (screen - 0.4, high), (screen - 0.14, hood + 0.06)]
        shell.patch(canvas, window, GLASS)
        if self.driver is not None:
            draw_head(canvas, shell, (wall + screen) / 2, hood + 0.28, 0.2, self.driver)
        door = oblong(wall + 0.15, 0.75, screen - 0.05, hood)
        shell.seam(canvas, [*door, door[0]], mixed(shell.colour, BLACK, 0.6), 0.03)
        shell.patch(canvas, oblong(wall + 0.05, 0.5, self.front - 0.05, 0.66), mixed(shell.colour, BLACK, 0.6))
        end_lamps(canvas, shell, ((self.front - 0.06, hood - 0.1), (self.front, 0.5)), None, plate=(250, 220, 90))
        block(canvas, screen - 0.1, hood + 0.2, shell.width / 2 + 0.08, (0.1, 0.4, 0.16), FRAME)


def lorry(rng: Random) -> Vehicle:
    """Return a lorry: a cab, and behind it on the frame a box, a tipper or a platform with its load."""
    length, width = rng.uniform(5.8, 7.6), 2.2
    radius, deck, top = rng.uniform(0.42, 0.5), rng.uniform(0.95, 1.1), rng.uniform(2.25, 2.6)
    back, front, nose = -length / 2, length / 2, rng.choice([0.0, rng.uniform(0.6, 1.0)])
    wall, screen, hood = front - nose - rng.uniform(1.5, 1.8), front - nose - 0.1, 0.55 * top
    outline = [
        (wall, 0.5, "paint"), (wall, top - 0.05, "paint"), (screen - 0.25, top, "glass"),
        (screen + 0.02, hood + 0.05, "paint"), (front - 0.06, hood - 0.05, "paint"), (front, 0.5, "dark"),
    ]  # fmt: skip
    shell = Shell(outline, width * 0.95, paint_colour(rng), belt=hood, taper=0.06)
    cab = _Cab(shell, wall, screen, front, hood, passenger(rng, 0.7))
    first, second = front - max(nose, 0.5) - 0.35, back + rng.uniform(1.0, 1.4)
    axles = wheels(rng, [first, second, *([second + 2.15 * radius] if rng.random() < 0.35 else [])], radius)
    body = rng.choice([_box, _tipper, _tipper, _platform, _platform])
    load = body(rng, (back, wall - rng.uniform(0.15, 0.35)), deck, top, width)

    def paint(canvas: Canvas) -> None:
        with on_wheels(canvas, length, width, axles, None, 0.3):
            block(canvas, back + 0.1, 0.55, 0, (length - 0.6, deck - 0.62, width * 0.8), FRAME)
            # The end that is turned to the camera covers the other one.
            for part in (load, cab.paint) if canvas.camera.angle > 0 else (cab.paint, load):
                part(canvas)
            for side in (-0.42, 0.42) if canvas.camera.angle < 0 else (0.42,):
                canvas.ball((back + 0.08, deck - 0.12, side * width), 0.09, TAIL, glowing=canvas.light.lamps > 0.5)

    return Vehicle(length, max(top, deck + 1.1), width, paint)


def _cargo_colour(rng: Random) -> Colour:
    return mixed(paint_colour(rng), any_colour(rng), 0.3)


def _box(rng: Random, ends: Spot, deck: float, top: float, width: float) -> Painter:
    (back, front), height = ends, rng.uniform(top - 0.1, top + 0.6)
    colour, ribs = _cargo_colour(rng), rng.choice([0, 0, 6])
    shell = Shell([(x, y, "paint") for x, y in oblong(back, deck, front, height)], width, colour, softness=0.05)

    def paint(canvas: Canvas) -> None:
        shell.paint(canvas)
        for index in range(1, ribs):
            x = back + (front - back) * index / ribs
            shell.seam(canvas, [(x, deck), (x, height)], mixed(colour, BLACK, 0.3), 0.03)
        shell.patch(canvas, oblong(back, deck, front, deck + 0.1), mixed(colour, BLACK, 0.5))

    return paint


def _open_body(rng: Random, ends: Spot, deck: float, rims: Spot, width: float, lean: float, load: Painter) -> Painter:
    (back, front), colour = ends, _cargo_colour(rng)
    outline = [
        (back + lean, deck, "paint"), (back, rims[0], "bed"), (front, rims[1], "paint"), (front, deck, "paint")
    ]  # fmt: skip
    shell = Shell(outline, width, colour, softness=0.04)

    def paint(canvas: Canvas) -> None:
        shell.paint(canvas)
        load(canvas)
        if rims[0] - deck > 0.2:
            for index in range(1, 5):
                x = back + lean + (front - back - lean) * index / 5
                shell.seam(canvas, [(x, deck), (x, rims[0])], mixed(colour, BLACK, 0.35), 0.06)
        shell.patch(canvas, oblong(back + lean, deck, front, deck + 0.08), mixed(colour, BLACK, 0.45))

    return paint


def _tipper(rng: Random, ends: Spot, deck: float, top: float, width: float) -> Painter:
    back, front = ends
    rim, lean, height = deck + rng.uniform(0.7, 1.0), rng.uniform(0.1, 0.3), rng.uniform(0.3, 0.6)
    hump = [(back + 0.1, rim - 0.05), (back + 0.9, rim + height), (front - 0.9, rim + height * 0.9), (front - 0.1, rim)]
    outline = [(x, y, "paint") for x, y in hump]
    heap = Shell(outline, width * 0.85, rng.choice(EARTH), belt=rim, taper=0.6, softness=0.5)
    return _open_body(rng, ends, deck, (rim, rim + lean), width, lean, heap.paint)


def _platform(rng: Random, ends: Spot, deck: float, top: float, width: float) -> Painter:
    back, front = ends
    rim = deck + rng.uniform(0.1, 0.45)
    places = [back + 0.2 + 0.95 * index for index in range(int(front - back))]
    crates = [(x, (0.85, rng.uniform(0.5, 1.0), width * 0.8), any_colour(rng, 60, 200)) for x in places]
    logs = rng.random() < 0.5

    def load(canvas: Canvas) -> None:
        if logs:
            _paint_logs(canvas, back, front, rim, width)
            return
        for x, measures, colour in crates if canvas.camera.angle > 0 else reversed(crates):
            block(canvas, x, rim - 0.05, 0, measures, colour)

    return _open_body(rng, ends, deck, (rim, rim), width, 0.0, load)


def _paint_logs(canvas: Canvas, back: float, front: float, floor: float, width: float) -> None:
    for row, count in enumerate((4, 3, 2)):
        for index in range(count):
            y, z = floor + 0.2 + row * 0.34, (index - (count - 1) / 2) * width / 4.4
            bark = mixed((112, 80, 54), BLACK, 0.12 * (index % 2))
            canvas.line([(back + 0.05, y, z), (front - 0.1, y, z)], bark, 0.38)
            end = back if canvas.camera.angle < 0 else front - 0.05
            canvas.polygon([(end, b, a) for a, b in circle(z, y, 0.18, 10)], (206, 168, 116))
