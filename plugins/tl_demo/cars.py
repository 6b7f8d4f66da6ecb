"""Sedans, SUVs and pick-ups: a bonnet, a cabin with windows and what stands behind it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from random import Random

from tl_demo.bodywork import CHROME, Vehicle, Wheel, draw_head, end_lamps, on_wheels, paint_colour, wheels
from tl_demo.canvas import BLACK, WHITE, Canvas, Colour, Point, Spot, circle, mixed
from tl_demo.people import passenger
from tl_demo.shell import GLASS, Shell, block

__all__ = ["pickup", "sedan", "suv"]


def _nothing(canvas: Canvas) -> None:
    """Paint no extra part."""


@dataclass(frozen=True)
class _Car:
    """A car's parts. ``base`` and ``roof`` say where the cabin begins and ends, at the belt and at the top.

    ``panes`` and ``posts`` are shares of the way from the cabin's rear to its front.
    """

    shell: Shell
    wheels: Sequence[Wheel]
    length: float
    clearance: float
    shoulder: float
    skirt: Colour
    arch: Colour
    base: Spot
    roof: Spot
    panes: Sequence[Spot]
    posts: Sequence[float]
    front: tuple[Spot, Spot]
    rear: tuple[Spot, Spot]
    driver: Colour | None
    behind: Callable[[Canvas], None] = _nothing
    on_top: Callable[[Canvas], None] = _nothing

    def paint(self, canvas: Canvas) -> None:
        """Paint the car from back to front."""
        with on_wheels(canvas, self.length, self.shell.width, self.wheels, self.arch, self.clearance):
            if canvas.camera.angle >= 0:
                self.behind(canvas)
            self.shell.paint(canvas)
            self.on_top(canvas)
            self._paint_flank(canvas)
            self._paint_windows(canvas)
            self._paint_doors(canvas)
            end_lamps(canvas, self.shell, self.front, self.rear, plate=WHITE)
            if canvas.camera.angle < 0:
                self.behind(canvas)

    def _slope(self, share: float, y: float) -> Spot:
        rise = (y - self.shell.belt) / (self.shell.top - self.shell.belt)
        rear = self.base[0] + (self.roof[0] - self.base[0]) * rise
        front = self.base[1] + (self.roof[1] - self.base[1]) * rise
        return (rear + (front - rear) * share, y)

    def _paint_flank(self, canvas: Canvas) -> None:
        """Paint the light along the shoulder and the skirt below the doors."""
        back, front, low, high = -0.47 * self.length, 0.46 * self.length, self.clearance, self.shoulder
        shine = [(back, high - 0.09), (back, high - 0.03), (front, high - 0.1), (front, high - 0.16)]
        self.shell.patch(canvas, shine, mixed(self.shell.colour, WHITE, 0.28))
        self.shell.patch(canvas, [(back, low), (back, low + 0.12), (front, low + 0.12), (front, low)], self.skirt)

    def _paint_windows(self, canvas: Canvas) -> None:
        low, high = self.shell.belt + 0.04, self.shell.top - 0.1
        for start, end in self.panes:
            corners = ((start, low), (start, high), (end, high), (end, low))
            self.shell.patch(canvas, [self._slope(*corner) for corner in corners], GLASS)
        if self.driver is not None:
            start, end = self.panes[-1]
            x, y = self._slope(start * 0.65 + end * 0.35, low)
            draw_head(canvas, self.shell, x, y + 0.13, 0.16, self.driver)
        for start, end in self.panes:
            corners = ((0.3, low), (0.5, high), (0.68, high), (0.48, low))
            shine = [self._slope(start + (end - start) * share, y) for share, y in corners]
            self.shell.patch(canvas, shine, mixed(GLASS, WHITE, 0.22))

    def _paint_doors(self, canvas: Canvas) -> None:
        """Draw the gaps around the doors, their handles and the mirror."""
        belt, colour = self.shell.belt, self.shell.colour
        for share in self.posts:
            x, _ = self._slope(share, belt)
            self.shell.seam(canvas, [(x, self.clearance + 0.12), (x, belt)], mixed(colour, BLACK, 0.55))
        for share in self.posts[1:]:
            x, _ = self._slope(share, belt)
            handle = [(x - 0.34, belt - 0.1), (x - 0.34, belt - 0.06), (x - 0.14, belt - 0.06), (x - 0.14, belt - 0.1)]
            self.shell.patch(canvas, handle, mixed(colour, BLACK, 0.65))
        x, y, z = self.shell.at(self.base[1] - 0.24, belt)
        block(canvas, x, y, z + 0.07, (0.1, 0.11, 0.14), mixed(colour, BLACK, 0.5))


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
        (roof[0], height, "paint"), (roof[1], height, "glass"), (base[1], bonnet + 0.05, "paint"), (*nose, "paint"),
        (front, clear + 0.16, "paint"), (front - 0.06, clear, "dark"),
    ]  # fmt: skip
    colour = paint_colour(rng)
    taxi = rng.random() < 0.08

    def roof_sign(canvas: Canvas) -> None:
        if taxi:
            block(canvas, (roof[0] + roof[1]) / 2, height, 0, (0.25, 0.14, 0.5), (250, 214, 60))

    car = _Car(
        shell=Shell(outline, width, colour, belt=belt, taper=0.24),
        wheels=wheels(rng, (-0.3 * length, 0.31 * length), radius),
        length=length, clearance=clear, shoulder=bonnet,
        skirt=mixed(colour, BLACK, rng.choice([0.25, 0.75])), arch=mixed(colour, BLACK, 0.8),
        base=base, roof=roof, panes=((0.12, 0.5), (0.54, 0.92)), posts=(0.1, 0.52, 0.97),
        front=(nose, (front, clear)), rear=((back, clear), tail), driver=passenger(rng, 0.6), on_top=roof_sign,
    )  # fmt: skip
    return Vehicle(length, height, width, car.paint)


def suv(rng: Random) -> Vehicle:
    """Return a tall car of two boxes with much air under it."""
    length, height, width = rng.uniform(4.1, 4.75), rng.uniform(1.78, 1.98), 1.95
    clear, radius = rng.uniform(0.3, 0.36), rng.uniform(0.39, 0.44)
    belt, bonnet = 0.63 * height, rng.uniform(0.6, 0.64) * height
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
    plastic = mixed((52, 53, 56), colour, rng.choice([0, 0, 0.5]))
    rails, spare, luggage = rng.random() < 0.7, rng.random() < 0.4, rng.random() < 0.2

    def spare_wheel(canvas: Canvas) -> None:
        if spare:
            for index in range(7):
                disc = circle(0, belt - 0.1, 0.34, 14)
                canvas.polygon([(back + 0.02 - 0.03 * index, y, z) for z, y in disc], BLACK)
            canvas.polygon([(back - 0.17, y, z) for z, y in circle(0, belt - 0.1, 0.18, 12)], (120, 122, 126))

    def roof_load(canvas: Canvas) -> None:
        if luggage:
            block(canvas, roof[0] + 0.3, height + 0.06, 0, (1.6, 0.26, 0.8), mixed(colour, BLACK, 0.7), softness=0.2)
        if rails:
            for side in (-0.8, 0.8):
                ends = [shell.at(x, height + 0.05, side) for x in (roof[0] + 0.1, roof[1] - 0.15)]
                canvas.line(ends, CHROME, 0.04)

    car = _Car(
        shell=shell, wheels=wheels(rng, (-0.3 * length, 0.31 * length), radius),
        length=length, clearance=clear, shoulder=bonnet, skirt=plastic, arch=plastic,
        base=base, roof=roof, panes=((0.04, 0.27), (0.31, 0.6), (0.64, 0.94)), posts=(0.29, 0.62, 0.98),
        front=(nose, (front, clear)), rear=((back, clear), tail), driver=passenger(rng, 0.6),
        behind=spare_wheel, on_top=roof_load,
    )  # fmt: skip
    return Vehicle(length, height, width, car.paint)


def pickup(rng: Random) -> Vehicle:
    """Return a pick-up truck: bonnet, cab and an open bed, which may be loaded."""
    length, height, width = rng.uniform(5.0, 5.7), rng.uniform(1.85, 2.0), 1.95
    clear, radius = rng.uniform(0.38, 0.46), rng.uniform(0.42, 0.48)
    belt, bonnet, rail = 0.63 * height, rng.uniform(0.58, 0.62) * height, rng.uniform(0.5, 0.54) * height
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
    crates = _crates(rng, back + 0.15, wall - 0.15, width) if rng.random() < 0.55 else []

    def load(canvas: Canvas) -> None:
        for x, measures, wood in crates:
            block(canvas, x, rail - 0.05, 0, measures, wood)
        shell.patch(
            canvas, [(back + 0.05, rail - 0.12), (back + 0.05, rail), (wall, rail), (wall, rail - 0.12)], colour
        )
        shell.seam(canvas, [(wall - 0.06, clear + 0.12), (wall - 0.06, rail)], mixed(colour, BLACK, 0.7), 0.05)

    car = _Car(
        shell=shell, wheels=wheels(rng, (-0.3 * length, 0.32 * length), radius),
        length=length, clearance=clear, shoulder=min(bonnet, rail),
        skirt=mixed(colour, BLACK, 0.6), arch=mixed(colour, BLACK, 0.85), base=base, roof=roof,
        panes=((0.06, 0.44), (0.5, 0.94)) if crew else ((0.1, 0.92),),
        posts=(0.02, 0.47, 0.99) if crew else (0.04, 0.99),
        front=(nose, (front, clear)), rear=((back, clear), tail), driver=passenger(rng, 0.6), on_top=load,
    )  # fmt: skip
    return Vehicle(length, height, width, car.paint)


def _crates(rng: Random, start: float, end: float, width: float) -> list[tuple[float, Point, Colour]]:
    """Return crates that stand in a bed: where, their measures, their colours."""
    crates: list[tuple[float, Point, Colour]] = []
    x = start
    while x < end - 0.4:
        length = min(rng.uniform(0.4, 0.9), end - x)
        measures = (length, rng.uniform(0.2, 0.55), width * rng.uniform(0.5, 0.85))
        wood = rng.choice([(176, 132, 82), (140, 104, 66), (214, 190, 120), (90, 120, 80), (120, 126, 132)])
        crates.append((x, measures, wood))
        x += length + rng.uniform(0.03, 0.5)
    return crates
