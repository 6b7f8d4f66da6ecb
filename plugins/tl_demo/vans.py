"""Commercial vehicles: delivery vans, minibuses and buses."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from random import Random

from tl_demo.bodywork import FRAME, Vehicle, Wheel, any_colour, draw_head, end_lamps, on_wheels, paint_colour, wheels
from tl_demo.canvas import BLACK, WHITE, Canvas, Colour, circle, mixed
from tl_demo.people import passenger
from tl_demo.shell import GLASS, Shell, block, oblong

__all__ = ["bus", "van"]


@dataclass(frozen=True)
class _Van:
    """A van whose windscreen runs from ``brow`` down to ``foot``, with a driver's door between ``door`` and there."""

    shell: Shell
    wheels: Sequence[Wheel]
    length: float
    clearance: float
    hood: float
    door: float
    brow: float
    foot: float
    driver: Colour | None
    panes: bool
    emblem: str
    livery: Colour

    def paint(self, canvas: Canvas) -> None:
        """Paint the van from back to front."""
        shell, back, front = self.shell, -self.length / 2, self.length / 2
        width, foot = shell.width, self.clearance
        with on_wheels(canvas, self.length, width, self.wheels, mixed(shell.colour, BLACK, 0.8), foot):
            shell.paint(canvas)
            shell.patch(canvas, oblong(back + 0.05, foot, front - 0.1, foot + 0.12), (62, 63, 66))
            self._paint_hold(canvas, back)
            self._paint_cabin(canvas)
            nose, rear = ((front - 0.06, self.hood - 0.12), (front, foot)), ((back, foot), (back, self.hood + 0.2))
            end_lamps(canvas, shell, nose, rear, plate=WHITE)
            for u in ((-0.8, -0.06), (0.06, 0.8)):
                shell.across(canvas, rear[0], (back + 0.03, shell.top - 0.1), (*u, 0.55, 0.9), GLASS)

    def _paint_hold(self, canvas: Canvas, back: float) -> None:
        """Paint the side behind the driver: windows, or doors in the owner's colours."""
        shell, gap, low = self.shell, mixed(self.shell.colour, BLACK, 0.5), self.hood + 0.05
        if self.panes:
            pitch = (self.door - back - 0.35) / 3
            for x in (back + 0.3, back + 0.3 + pitch, back + 0.3 + 2 * pitch):
                shell.patch(canvas, oblong(x, low, x + pitch - 0.12, shell.top - 0.35), GLASS)
        else:
            place = (back + 0.3, self.door - 0.2, self.clearance + 0.35, shell.top - 0.3)
            _paint_livery(canvas, shell, self.emblem, place, self.livery)
        middle = (back + self.door) / 2 - 0.15
        shell.seam(canvas, [(middle, self.clearance + 0.15), (middle, shell.top - 0.25)], gap, 0.025)
        shell.seam(canvas, [(back + 0.2, low - 0.1), (self.door - 0.1, low - 0.1)], gap)

    def _paint_cabin(self, canvas: Canvas) -> None:
        shell, door, brow, foot = self.shell, self.door, self.brow, self.foot
        gap, low, high = mixed(shell.colour, BLACK, 0.5), self.hood + 0.05, shell.top - 0.35
        shell.patch(canvas, [(door + 0.15, low), (door + 0.15, high), (brow - 0.05, high), (foot - 0.18, low)], GLASS)
        if self.driver is not None:
            draw_head(canvas, shell, (door + brow) / 2 + 0.2, low + 0.15, 0.17, self.driver)
        shell.seam(canvas, [(door, self.clearance + 0.15), (door, shell.top - 0.25)], gap, 0.025)
        shell.seam(canvas, [(foot - 0.05, self.clearance + 0.15), (foot - 0.05, low)], gap, 0.025)
        block(canvas, foot - 0.25, self.hood + 0.12, shell.width / 2 + 0.08, (0.1, 0.3, 0.16), FRAME)


def van(rng: Random) -> Vehicle:
    """Return a delivery van in its owner's colours, or a minibus."""
    length, height, width = rng.uniform(4.9, 6.2), rng.uniform(2.2, 2.75), 2.0
    clear, radius = rng.uniform(0.25, 0.32), rng.uniform(0.33, 0.38)
    back, front = -length / 2, length / 2
    hood, foot = rng.uniform(0.42, 0.47) * height, front - rng.uniform(0.5, 0.8)
    brow = foot - rng.uniform(0.45, 0.75)
    outline = [
        (back + 0.03, clear, "paint"), (back + 0.03, height - 0.1, "paint"), (back + 0.12, height, "paint"),
        (brow, height, "glass"), (foot, hood + 0.03, "paint"), (front - 0.06, hood - 0.12, "paint"),
        (front, clear + 0.15, "dark"), (front - 0.1, clear, "dark"),
    ]  # fmt: skip
    vehicle = _Van(
        shell=Shell(outline, width, paint_colour(rng), belt=hood, taper=0.1, softness=0.18),
        wheels=wheels(rng, (back + 0.21 * length, front - 0.9), radius),
        length=length, clearance=clear, hood=hood, door=brow - rng.uniform(0.5, 0.7), brow=brow, foot=foot,
        driver=passenger(rng, 0.7), panes=rng.random() < 0.25,
        emblem=rng.choice(["disc", "band", "wave", "panel", "none"]), livery=any_colour(rng),
    )  # fmt: skip
    return Vehicle(length, height, width, vehicle.paint)


def _paint_livery(
    canvas: Canvas, shell: Shell, emblem: str, place: tuple[float, float, float, float], colour: Colour
) -> None:
    x, x1, y, y1 = place
    middle, centre = (y + y1) / 2, (x + x1) / 2
    if emblem == "disc":
        for share, tint in ((0.28, colour), (0.17, mixed(colour, WHITE, 0.75))):
            shell.patch(canvas, circle(centre, middle + 0.15, (y1 - y) * share), tint)
    elif emblem == "band":
        shell.patch(canvas, oblong(x - 0.25, middle - 0.2, x1, middle + 0.12), colour)
    elif emblem == "wave":
        shell.patch(canvas, [(x - 0.25, y), (x - 0.25, y1), (centre, middle), (x1, y)], colour)
    elif emblem == "panel":
        shell.patch(canvas, oblong(x + 0.1, middle - 0.15, x1 - 0.1, y1 - 0.1), mixed(colour, WHITE, 0.3))
        for row in range(2):
            low = middle + 0.05 + 0.25 * row
            shell.patch(canvas, oblong(x + 0.3, low, x1 - 0.4 - 0.4 * row, low + 0.1), mixed(colour, BLACK, 0.5))


@dataclass(frozen=True)
class _Bus:
    """A bus: ``people`` holds a row of seats for each deck, with the colour of who sits there."""

    shell: Shell
    wheels: Sequence[Wheel]
    length: float
    clearance: float
    band: Colour | None
    people: Sequence[Sequence[Colour | None]]

    def paint(self, canvas: Canvas) -> None:
        """Paint the bus from back to front."""
        shell, back, front, foot = self.shell, -self.length / 2, self.length / 2, self.clearance
        with on_wheels(canvas, self.length, shell.width, self.wheels, mixed(shell.colour, BLACK, 0.8), foot):
            shell.paint(canvas)
            if self.band is not None:
                shell.patch(canvas, oblong(back + 0.03, foot, front - 0.03, 0.85), self.band)
            self._paint_windows(canvas, back, front)
            brow = (front - 0.15, shell.top), (front - 0.1, shell.top - 0.4)
            shell.across(canvas, *brow, (-0.7, 0.7, 0.2, 0.9), (30, 30, 32))
            shell.across(canvas, *brow, (-0.5, 0.5, 0.35, 0.75), (255, 176, 50), glowing=True)
            end_lamps(canvas, shell, ((front - 0.02, 1.25), (front, foot)), ((back, foot), (back, 1.3)), plate=WHITE)
            shell.across(canvas, (back, foot), (back, shell.top), (-0.75, 0.75, 0.5, 0.85), GLASS)

    def _paint_windows(self, canvas: Canvas, back: float, front: float) -> None:
        shell, lit = self.shell, canvas.light.lamps > 0.5
        pane = mixed(GLASS, (255, 226, 150), 0.75 if lit else 0.0)
        for deck, row in enumerate(self.people):
            low, pitch = 1.25 + 1.55 * deck, (self.length - 1.3) / len(row)
            for index, person in enumerate(row):
                x = back + 0.25 + pitch * index
                shell.patch(canvas, oblong(x, low, x + pitch * 0.86, low + 0.95), pane, glowing=lit)
                if person is not None:
                    draw_head(canvas, shell, x + pitch * 0.4, low + 0.18, 0.17, person)
        for x in (front - 1.0, back + 0.5 * self.length):
            shell.patch(canvas, oblong(x, self.clearance + 0.1, x + 0.85, 2.25), mixed(shell.colour, BLACK, 0.4))
            for left in (x + 0.06, x + 0.46):
                shell.patch(canvas, oblong(left, self.clearance + 0.2, left + 0.33, 2.15), pane, glowing=lit)


def bus(rng: Random) -> Vehicle:
    """Return a bus with one deck or two."""
    decks = 2 if rng.random() < 0.25 else 1
    length, width, clear = rng.uniform(6.8, 9.5), 2.4, 0.32
    height = rng.uniform(2.8, 3.1) if decks == 1 else rng.uniform(3.9, 4.3)
    back, front = -length / 2, length / 2
    outline = [
        (back, clear, "paint"), (back, height, "paint"), (front - 0.15, height, "paint"),
        (front - 0.1, height - 0.4, "glass"), (front - 0.02, 1.25, "paint"), (front, clear, "dark"),
    ]  # fmt: skip
    seats = round(length / rng.uniform(1.0, 1.5))
    vehicle = _Bus(
        shell=Shell(outline, width, paint_colour(rng), belt=1.2, taper=0.05, softness=0.2),
        wheels=wheels(rng, (back + 0.24 * length, front - 0.26 * length), rng.uniform(0.44, 0.5)),
        length=length, clearance=clear, band=paint_colour(rng) if rng.random() < 0.6 else None,
        people=[[passenger(rng, 0.4) for _ in range(seats)] for _ in range(decks)],
    )  # fmt: skip
    return Vehicle(length, height, width, vehicle.paint)
