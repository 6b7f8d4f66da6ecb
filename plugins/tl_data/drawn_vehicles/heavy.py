"""Lorries, vans and buses: what carries goods or many people."""

from __future__ import annotations

from collections.abc import Callable
from random import Random

from tl_data.drawn_vehicles.bodywork import GLASS, Shell, Vehicle, any_colour, block, paint_colour, shadow
from tl_data.drawn_vehicles.canvas import BLACK, WHITE, Canvas, Colour, Spot, circle, mixed
from tl_data.drawn_vehicles.cars import draw_head, end_lamps, wheels

__all__ = ["bus", "lorry", "van"]

FRAME: Colour = (48, 48, 52)


def _oblong(x: float, y: float, x1: float, y1: float) -> list[Spot]:
    return [(x, y), (x, y1), (x1, y1), (x1, y)]


def lorry(rng: Random) -> Vehicle:
    """Return a lorry: a cab, and behind it on the frame a box, a tipper or a platform with its load."""
    kind = rng.choice(["box", "tipper", "tipper", "platform", "platform"])
    length, width = rng.uniform(5.8, 7.6), 2.2
    radius, deck, top = rng.uniform(0.42, 0.5), rng.uniform(0.95, 1.1), rng.uniform(2.25, 2.6)
    back, front = -length / 2, length / 2
    nose = rng.choice([0.0, rng.uniform(0.6, 1.0)])
    rear_wall = front - nose - rng.uniform(1.5, 1.8)
    screen = front - nose - 0.1
    hood = 0.55 * top
    outline = [(rear_wall, 0.5, "paint"), (rear_wall, top - 0.05, "paint"), (screen - 0.25, top, "glass")]
    outline += [(screen + 0.02, hood + 0.05, "paint"), (front - 0.06, hood - 0.05, "paint"), (front, 0.5, "dark")]
    colour, cargo = paint_colour(rng), mixed(paint_colour(rng), any_colour(rng), 0.3)
    cab = Shell(outline, width * 0.95, colour, belt=hood, taper=0.06)
    places = [front - max(nose, 0.5) - 0.35, back + rng.uniform(1.0, 1.4)]
    round_wheels = wheels(rng, [*places, places[1] + 2.15 * radius] if rng.random() < 0.35 else places, radius)
    driver = any_colour(rng, 90, 220) if rng.random() < 0.7 else None
    load = _body(rng, kind, (back, rear_wall - rng.uniform(0.15, 0.35)), deck, top, width, cargo)

    def paint_cab(canvas: Canvas) -> None:
        cab.paint(canvas)
        window = [(rear_wall + 0.25, hood + 0.06), (rear_wall + 0.25, top - 0.2), (screen - 0.4, top - 0.2)]
        cab.patch(canvas, [*window, (screen - 0.14, hood + 0.06)], GLASS)
        if driver is not None:
            draw_head(canvas, cab, (rear_wall + screen) / 2, hood + 0.28, 0.2, driver)
        gap = mixed(colour, BLACK, 0.6)
        cab.seam(canvas, [*_oblong(rear_wall + 0.15, 0.75, screen - 0.05, hood), (rear_wall + 0.15, 0.75)], gap, 0.03)
        cab.patch(canvas, _oblong(rear_wall + 0.05, 0.5, front - 0.05, 0.66), mixed(colour, BLACK, 0.6))
        end_lamps(
            canvas, cab, ((front - 0.06, hood - 0.1), (front, 0.5)), ((back, 0.5), (back, deck)), plate=(250, 220, 90)
        )
        block(canvas, screen - 0.1, hood + 0.2, width / 2 + 0.08, (0.1, 0.4, 0.16), FRAME)

    def paint(canvas: Canvas) -> None:
        shadow(canvas, length, width)
        for wheel in round_wheels:
            wheel.paint_inner(canvas, width)
        block(canvas, back + 0.1, 0.55, 0, (length - 0.6, deck - 0.62, width * 0.8), FRAME)
        # The end that is turned to the camera covers the other one.
        parts = (load, paint_cab) if canvas.camera.angle > 0 else (paint_cab, load)
        for part in parts:
            part(canvas)
        for wheel in round_wheels:
            wheel.paint_outer(canvas, width, None, 0.3)

    return Vehicle(length, max(top, deck + 1.1), width, paint)


def _body(
    rng: Random, kind: str, ends: Spot, deck: float, top: float, width: float, colour: Colour
) -> Callable[[Canvas], None]:
    back, front = ends
    if kind == "box":
        height = rng.uniform(top - 0.1, top + 0.6)
        corners = [(back, deck), (back, height), (front, height), (front, deck)]
        shell = Shell([(x, y, "paint") for x, y in corners], width, colour, softness=0.05)
        stripes = rng.choice([0, 0, 6])

        def box(canvas: Canvas) -> None:
            shell.paint(canvas)
            for index in range(1, stripes):
                x = back + (front - back) * index / stripes
                shell.seam(canvas, [(x, deck), (x, height)], mixed(colour, BLACK, 0.3), 0.03)
            shell.patch(canvas, _oblong(back, deck, front, deck + 0.1), mixed(colour, BLACK, 0.5))

        return box
    rim = deck + (rng.uniform(0.7, 1.0) if kind == "tipper" else rng.uniform(0.1, 0.45))
    lean = rng.uniform(0.1, 0.3) if kind == "tipper" else 0.0
    corners = [(back + lean, deck), (back, rim), (front, rim + lean), (front, deck)]
    shell = Shell([(x, y, "bed" if i == 1 else "paint") for i, (x, y) in enumerate(corners)], width, colour, softness=0.04)
    earth = rng.choice([(134, 100, 70), (160, 140, 110), (110, 110, 112), (196, 170, 120)])
    height = rng.uniform(0.3, 0.6)
    hump = [(back + 0.1, rim - 0.05), (back + 0.9, rim + height), (front - 0.9, rim + height * 0.9), (front - 0.1, rim)]
    heap = Shell([(x, y, "paint") for x, y in hump], width * 0.85, earth, belt=rim, taper=0.6, softness=0.5)
    logs = rng.random() < 0.5
    crates = [(back + 0.2 + 0.95 * i, rng.uniform(0.5, 1.0), any_colour(rng, 60, 200)) for i in range(int((front - back) / 1.0))]

    def open_body(canvas: Canvas) -> None:
        shell.paint(canvas)
        if kind == "tipper":
            heap.paint(canvas)
        elif logs:
            _logs(canvas, back, front, rim, width)
        else:
            for x, tall, tint in crates:
                block(canvas, x, rim - 0.05, 0, (0.85, tall, width * 0.8), tint)
        if rim - deck > 0.2:
            for index in range(1, 5):
                x = back + lean + (front - back - lean) * index / 5
                shell.seam(canvas, [(x, deck), (x, rim)], mixed(colour, BLACK, 0.35), 0.06)
        shell.patch(canvas, _oblong(back + lean, deck, front, deck + 0.08), mixed(colour, BLACK, 0.45))

    return open_body


def _logs(canvas: Canvas, back: float, front: float, floor: float, width: float) -> None:
    for row, count in enumerate((4, 3, 2)):
        for index in range(count):
            z = (index - (count - 1) / 2) * width / 4.4
            y = floor + 0.2 + row * 0.34
            bark = mixed((112, 80, 54), BLACK, 0.12 * (index % 2))
            canvas.line([(back + 0.05, y, z), (front - 0.1, y, z)], bark, 0.38)
            end = back if canvas.camera.angle < 0 else front - 0.05
            canvas.polygon([(end, b, a) for a, b in circle(z, y, 0.18, 10)], (206, 168, 116))


def van(rng: Random) -> Vehicle:
    """Return a delivery van in its owner's colours, or a minibus."""
    length, height, width = rng.uniform(4.9, 6.2), rng.uniform(2.2, 2.75), 2.0
    clear, radius = rng.uniform(0.25, 0.32), rng.uniform(0.33, 0.38)
    back, front = -length / 2, length / 2
    hood = rng.uniform(0.42, 0.47) * height
    foot = front - rng.uniform(0.5, 0.8)
    brow = foot - rng.uniform(0.45, 0.75)
    nose = (front - 0.06, hood - 0.12)
    tail = (back + 0.03, height - 0.1)
    outline = [
        (back + 0.03, clear, "paint"), (*tail, "paint"), (back + 0.12, height, "paint"), (brow, height, "glass"),
        (foot, hood + 0.03, "paint"), (*nose, "paint"), (front, clear + 0.15, "dark"), (front - 0.1, clear, "dark"),
    ]  # fmt: skip
    colour, livery = paint_colour(rng), any_colour(rng)
    shell = Shell(outline, width, colour, belt=hood, taper=0.1, softness=0.18)
    round_wheels = wheels(rng, (back + 0.21 * length, front - 0.9), radius)
    driver = any_colour(rng, 90, 220) if rng.random() < 0.7 else None
    panes = rng.random() < 0.25
    emblem = rng.choice(["disc", "band", "wave", "panel", "none"])
    door = brow - rng.uniform(0.5, 0.7)

    def paint(canvas: Canvas) -> None:
        shadow(canvas, length, width)
        for wheel in round_wheels:
            wheel.paint_inner(canvas, width)
        shell.paint(canvas)
        shell.patch(canvas, _oblong(back + 0.05, clear, front - 0.1, clear + 0.12), (62, 63, 66))
        low, high = hood + 0.05, height - 0.35
        if panes:
            for index in range(3):
                x = back + 0.3 + (door - back - 0.35) * index / 3
                shell.patch(canvas, _oblong(x, low, x + (door - back - 0.35) / 3 - 0.12, high), GLASS)
        else:
            _livery(canvas, shell, emblem, (back + 0.3, door - 0.2, clear + 0.35, height - 0.3), livery)
        shell.patch(canvas, [(door + 0.15, low), (door + 0.15, high), (brow - 0.05, high), (foot - 0.18, low)], GLASS)
        if driver is not None:
            draw_head(canvas, shell, (door + brow) / 2 + 0.2, low + 0.15, 0.17, driver)
        gap = mixed(colour, BLACK, 0.5)
        for x in (door, foot - 0.05, (back + door) / 2 - 0.15):
            shell.seam(canvas, [(x, clear + 0.15), (x, low if x > door else height - 0.25)], gap, 0.025)
        shell.seam(canvas, [(back + 0.2, low - 0.1), (door - 0.1, low - 0.1)], gap, 0.02)
        end_lamps(canvas, shell, (nose, (front, clear)), ((back, clear), (back, hood + 0.2)), plate=WHITE)
        for u in ((-0.8, -0.06), (0.06, 0.8)):
            shell.across(canvas, (back, clear), tail, (*u, 0.55, 0.9), GLASS)
        block(canvas, foot - 0.25, hood + 0.12, width / 2 + 0.08, (0.1, 0.3, 0.16), FRAME)
        for wheel in round_wheels:
            wheel.paint_outer(canvas, width, mixed(colour, BLACK, 0.8), clear)

    return Vehicle(length, height, width, paint)


def _livery(canvas: Canvas, shell: Shell, emblem: str, place: tuple[float, float, float, float], colour: Colour) -> None:
    x, x1, y, y1 = place
    middle, centre = (y + y1) / 2, (x + x1) / 2
    if emblem == "disc":
        shell.patch(canvas, circle(centre, middle + 0.15, (y1 - y) * 0.28), colour)
        shell.patch(canvas, circle(centre, middle + 0.15, (y1 - y) * 0.17), mixed(colour, WHITE, 0.75))
    elif emblem == "band":
        shell.patch(canvas, _oblong(x - 0.25, middle - 0.2, x1, middle + 0.12), colour)
    elif emblem == "wave":
        shell.patch(canvas, [(x - 0.25, y), (x - 0.25, y1), (centre, middle), (x1, y)], colour)
    elif emblem == "panel":
        shell.patch(canvas, _oblong(x + 0.1, middle - 0.15, x1 - 0.1, y1 - 0.1), mixed(colour, WHITE, 0.3))
        for row in range(2):
            y2 = middle + 0.05 + 0.25 * row
            shell.patch(canvas, _oblong(x + 0.3, y2, x1 - 0.4 - 0.4 * row, y2 + 0.1), mixed(colour, BLACK, 0.5))


def bus(rng: Random) -> Vehicle:
    """Return a bus with one deck or two."""
    decks = 2 if rng.random() < 0.25 else 1
    length = rng.uniform(6.8, 9.5)
    height, width = (rng.uniform(2.8, 3.1) if decks == 1 else rng.uniform(3.9, 4.3)), 2.4
    clear, radius = 0.32, rng.uniform(0.44, 0.5)
    back, front = -length / 2, length / 2
    nose = (front - 0.02, 1.25)
    outline = [
        (back, clear, "paint"), (back, height, "paint"), (front - 0.15, height, "paint"), (front - 0.1, height - 0.4, "glass"),
        (*nose, "paint"), (front, clear, "dark"),
    ]  # fmt: skip
    colour, second = paint_colour(rng), paint_colour(rng)
    shell = Shell(outline, width, colour, belt=1.2, taper=0.05, softness=0.2)
    round_wheels = wheels(rng, (back + 0.24 * length, front - 0.26 * length), radius)
    banded, count = rng.random() < 0.6, round(length / rng.uniform(1.0, 1.5))
    people = [any_colour(rng, 90, 220) if rng.random() < 0.4 else None for _ in range(count * decks)]

    def paint(canvas: Canvas) -> None:
        shadow(canvas, length, width)
        for wheel in round_wheels:
            wheel.paint_inner(canvas, width)
        shell.paint(canvas)
        if banded:
            shell.patch(canvas, _oblong(back + 0.03, clear, front - 0.03, 0.85), second)
        pitch = (length - 1.3) / count
        lit = canvas.light.lamps > 0.5
        pane = mixed(GLASS, (255, 226, 150), 0.75 if lit else 0.0)
        for deck in range(decks):
            low = 1.25 + 1.55 * deck
            for index in range(count):
                x = back + 0.25 + pitch * index
                shell.patch(canvas, _oblong(x, low, x + pitch * 0.86, low + 0.95), pane, glowing=lit)
                person = people[deck * count + index]
                if person is not None:
                    draw_head(canvas, shell, x + pitch * 0.4, low + 0.18, 0.17, person)
        for x in (front - 1.0, back + 0.5 * length):
            shell.patch(canvas, _oblong(x, clear + 0.1, x + 0.85, 2.25), mixed(colour, BLACK, 0.4))
            for x1 in (x + 0.06, x + 0.46):
                shell.patch(canvas, _oblong(x1, clear + 0.2, x1 + 0.33, 2.15), pane, glowing=lit)
        sign = (front - 0.15, height), (front - 0.1, height - 0.4)
        shell.across(canvas, *sign, (-0.7, 0.7, 0.2, 0.9), (30, 30, 32))
        shell.across(canvas, *sign, (-0.5, 0.5, 0.35, 0.75), (255, 176, 50), glowing=True)
        end_lamps(canvas, shell, (nose, (front, clear)), ((back, clear), (back, 1.3)), plate=WHITE)
        shell.across(canvas, (back, clear), (back, height), (-0.75, 0.75, 0.5, 0.85), GLASS)
        for wheel in round_wheels:
            wheel.paint_outer(canvas, width, mixed(colour, BLACK, 0.8), clear)

    return Vehicle(length, height, width, paint)
