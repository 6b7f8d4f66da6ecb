"""Bicycles, scooters and motorcycles, with or without a rider."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from random import Random

from tl_demo.bodywork import CHROME, LAMP, TAIL, Vehicle, any_colour, paint_colour, shadow
from tl_demo.canvas import BLACK, WHITE, Canvas, Colour, Point, Spot, circle, mixed
from tl_demo.people import SKINS
from tl_demo.shell import Shell

__all__ = ["bicycle", "motorcycle", "scooter"]

RUBBER: Colour = (30, 30, 33)
STEEL: Colour = mixed(CHROME, BLACK, 0.4)


@dataclass(frozen=True)
class _Rider:
    """A person who sits on two wheels: clothes, and by how many radians she leans forward."""

    jacket: Colour
    trousers: Colour
    skin: Colour
    helmet: Colour
    lean: float

    def paint_leg(self, canvas: Canvas, hip: Spot, foot: Spot, z: float) -> None:
        """Paint the leg on one side, with its knee in front."""
        (x, y), (x1, y1) = hip, foot
        knee = ((x + x1) / 2 + 0.24, (y + y1) / 2 + 0.1, z)
        tint = self.trousers if z > 0 else mixed(self.trousers, BLACK, 0.35)
        canvas.line([(x, y, z * 0.6), knee, (x1, y1, z)], tint, 0.15)
        canvas.line([(x1 - 0.05, y1 - 0.03, z), (x1 + 0.14, y1 - 0.04, z)], (50, 42, 40), 0.09)

    def paint_body(self, canvas: Canvas, hip: Spot, hand: Spot) -> None:
        """Paint trunk, arms and head."""
        x, y = hip
        shoulder = (x + 0.52 * math.sin(self.lean), y + 0.52 * math.cos(self.lean))
        elbow = ((shoulder[0] + hand[0]) / 2 - 0.04, (shoulder[1] + hand[1]) / 2 - 0.12)
        canvas.line([(*shoulder, -0.2), (*elbow, -0.25), (*hand, -0.26)], mixed(self.jacket, BLACK, 0.3), 0.11)
        canvas.line([(x, y + 0.04, 0), (*shoulder, 0.0)], self.jacket, 0.36)
        canvas.line([(*shoulder, 0.2), (*elbow, 0.25), (*hand, 0.26)], mixed(self.jacket, WHITE, 0.12), 0.11)
        canvas.ball((*hand, 0.26), 0.06, self.skin)
        a, b = shoulder[0] + 0.1 * math.sin(self.lean) + 0.05, shoulder[1] + 0.27
        canvas.ball((a, b, 0.0), 0.14, self.skin)
        canvas.upright([*_arc(a, b + 0.02, 0.17, (0, math.pi)), (a - 0.15, b - 0.08)], 0.02, self.helmet)


@contextlib.contextmanager
def _ridden(
    canvas: Canvas, rider: _Rider | None, hip: Spot, hand: Spot, feet: Sequence[Spot], z: float
) -> Iterator[None]:
    """Paint a rider, if there is one, around the machine that is painted inside; the near foot comes first."""
    if rider is None:
        yield
        return
    near, far = feet
    rider.paint_leg(canvas, hip, far, -z)
    yield
    rider.paint_body(canvas, hip, hand)
    rider.paint_leg(canvas, hip, near, z)


def _rider(rng: Random, lean: float, *, chance: float, helmet: float) -> _Rider | None:
    if rng.random() > chance:
        return None
    skin = rng.choice(SKINS)
    cover = paint_colour(rng) if rng.random() < helmet else mixed(skin, BLACK, 0.7)
    return _Rider(any_colour(rng), any_colour(rng, 20, 130), skin, cover, lean + rng.uniform(-0.1, 0.15))


def _arc(x: float, y: float, radius: float, turns: Spot) -> list[Spot]:
    """Return points on a part of a circle, from one angle to another."""
    start, end = turns
    angles = [start + (end - start) * index / 8 for index in range(9)]
    return [(x + radius * math.cos(turn), y + radius * math.sin(turn)) for turn in angles]


def _fender(canvas: Canvas, x: float, radius: float, colour: Colour, width: float) -> None:
    canvas.line([(a, b, 0.02) for a, b in _arc(x, radius, radius + 0.035, (0.6, 2.5))], colour, width)


def _wheel(canvas: Canvas, x: float, radius: float, tyre: float, *, spokes: int, filled: Colour | None = None) -> None:
    ring = circle(x, radius, radius - tyre / 2, 22)
    for z in (-tyre / 2, tyre / 2):
        if filled is not None:
            canvas.upright(circle(x, radius, radius - tyre, 18), z, filled)
        canvas.line([(a, b, z) for a, b in [*ring, *ring[:2]]], RUBBER, tyre)
    rim = circle(x, radius, radius - 1.25 * tyre, 18)
    canvas.line([(a, b, tyre / 2) for a, b in [*rim, rim[0]]], CHROME, 0.3 * tyre)
    for a, b in circle(x, radius, radius - tyre, spokes) if spokes else ():
        canvas.line([(x, radius, 0.0), (a, b, 0.0)], CHROME, 0.014 if spokes > 12 else 0.05)
    canvas.ball((x, radius, 0.02), max(0.04, 0.3 * tyre), STEEL)


def _part(canvas: Canvas, spots: Sequence[Spot], width: float, colour: Colour) -> None:
    Shell([(x, y, "paint") for x, y in spots], width, colour, softness=0.07).paint(canvas)


def _tubes(canvas: Canvas, tubes: Iterable[tuple[Spot, Spot]], colour: Colour, width: float) -> None:
    for start, end in tubes:
        canvas.line([(*start, 0.0), (*end, 0.0)], colour, width)


def _bars(canvas: Canvas, stem: Spot, hand: Spot, reach: float, width: float) -> None:
    for z in (-reach, reach):
        canvas.line([(*stem, 0.0), (*hand, z)], STEEL, width)
        canvas.line([(*hand, z), (hand[0] - 0.07, hand[1], z)], RUBBER, 1.4 * width)


def _lamps(canvas: Canvas, front: Point, rear: Point, radius: float) -> None:
    lit = canvas.light.lamps > 0.5
    canvas.ball(front, radius, LAMP, glowing=lit)
    canvas.halo(front, 3.5 * radius, (255, 240, 190))
    canvas.ball(rear, 0.6 * radius, TAIL, glowing=lit)


@dataclass(frozen=True)
class _Bicycle:
    """A bicycle whose wheels stand ``base`` metres apart; ``turn`` is where its pedals are."""

    radius: float
    base: float
    saddle: Spot
    steer: Spot
    low_frame: bool
    drop_bars: bool
    basket: bool
    fenders: bool
    tyre: float
    turn: float
    colour: Colour
    rider: _Rider | None

    def paint(self, canvas: Canvas) -> None:
        """Paint the bicycle from back to front."""
        shadow(canvas, 1.5, 0.35)
        crank = (-0.07, self.radius - 0.05)
        step = (0.16 * math.cos(self.turn), 0.16 * math.sin(self.turn))
        pedals = [(crank[0] + side * step[0], crank[1] + side * step[1]) for side in (1, -1)]
        hip = (self.saddle[0] + 0.02, self.saddle[1] + 0.08)
        hand = (self.steer[0] + 0.16, self.steer[1]) if self.drop_bars else (self.steer[0] - 0.02, self.steer[1] + 0.13)
        with _ridden(canvas, self.rider, hip, hand, pedals, 0.13):
            for x in (-self.base / 2, self.base / 2):
                _wheel(canvas, x, self.radius, self.tyre, spokes=16)
                if self.fenders:
                    _fender(canvas, x, self.radius, mixed(self.colour, BLACK, 0.2), 0.04)
            self._paint_frame(canvas, crank)
            chain = [*circle(*crank, 0.1, 14), (crank[0] + 0.1, crank[1])]
            canvas.line([(x, y, 0.03) for x, y in chain], BLACK, 0.025)
            canvas.line([(*pedals[1], -0.08), (*crank, 0.0), (*pedals[0], 0.08)], STEEL, 0.03)
            _tubes(canvas, [(self.steer, (self.steer[0], hand[1]))], STEEL, 0.03)
            _bars(canvas, (self.steer[0], hand[1]), hand, 0.26, 0.03)
            if self.basket:
                x = self.base / 2
                sides = [(x - 0.08, 0.74), (x - 0.12, 1.0), (x + 0.22, 1.0), (x + 0.16, 0.74)]
                _part(canvas, sides, 0.34, (170, 124, 76))
            canvas.halo((self.base / 2 - 0.05, 0.8, 0.0), 0.3, (255, 240, 190))

    def _paint_frame(self, canvas: Canvas, crank: Spot) -> None:
        rear, front = (-self.base / 2, self.radius), (self.base / 2, self.radius)
        seat = (self.saddle[0] + 0.03, self.saddle[1] - 0.14)
        head = (self.steer[0] + 0.03, self.steer[1] - 0.16)
        top = (crank[0] - 0.03, crank[1] + 0.2) if self.low_frame else seat
        tubes = [(rear, crank), (rear, seat), (crank, seat), (crank, head), (top, self.steer), (self.steer, front)]
        _tubes(canvas, tubes, self.colour, 0.042)
        _tubes(canvas, [(seat, self.saddle)], STEEL, 0.03)
        x, y = self.saddle
        _tubes(canvas, [((x - 0.11, y + 0.02), (x + 0.14, y))], RUBBER, 0.07)


def bicycle(rng: Random) -> Vehicle:
    """Return a bicycle: a diamond or a low frame, thin wheels."""
    drop_bars = rng.random() < 0.35
    machine = _Bicycle(
        radius=rng.uniform(0.31, 0.36), base=rng.uniform(1.0, 1.12), saddle=(-0.26, rng.uniform(0.86, 0.98)),
        steer=(0.36, rng.uniform(0.84, 0.92)), low_frame=rng.random() < 0.35, drop_bars=drop_bars,
        basket=rng.random() < 0.3, fenders=rng.random() < 0.5, tyre=rng.uniform(0.035, 0.06),
        turn=rng.uniform(0, math.tau), colour=paint_colour(rng),
        rider=_rider(rng, 0.75 if drop_bars else 0.3, chance=0.5, helmet=0.6),
    )  # fmt: skip
    return Vehicle(machine.base + 2 * machine.radius, 1.75 if machine.rider else 1.1, 0.5, machine.paint)


@dataclass(frozen=True)
class _Scooter:
    """A scooter whose wheels stand ``base`` metres apart."""

    radius: float
    base: float
    box: bool
    colour: Colour
    seat: Colour
    rider: _Rider | None

    def paint(self, canvas: Canvas) -> None:
        """Paint the scooter from back to front."""
        shadow(canvas, 1.8, 0.5)
        rear, front, hip, foot = -self.base / 2, self.base / 2, (-0.3, 0.86), (0.16, 0.36)
        hand = (front - 0.26, 1.0)
        with _ridden(canvas, self.rider, hip, hand, (foot, foot), 0.2):
            for x in (rear, front):
                _wheel(canvas, x, self.radius, 0.1, spokes=0, filled=(96, 98, 100))
            self._paint_body(canvas, rear, front)
            _tubes(canvas, [((front - 0.2, 0.9), (front, self.radius))], mixed(self.colour, BLACK, 0.2), 0.08)
            _fender(canvas, front, self.radius + 0.03, self.colour, 0.1)
            for z in (-0.28, 0.28):
                canvas.line([(front - 0.2, 1.0, z), (front - 0.26, 1.18, z * 1.1)], CHROME, 0.02)
                canvas.ball((front - 0.26, 1.2, z * 1.1), 0.05, STEEL)
            _bars(canvas, (front - 0.25, 0.93), hand, 0.28, 0.05)
            _lamps(canvas, (front - 0.16, 0.95, 0.0), (rear - 0.24, 0.6, 0.0), 0.1)

    def _paint_body(self, canvas: Canvas, rear: float, front: float) -> None:
        back = [(rear + 0.26, 0.3), (rear - 0.2, 0.36), (rear - 0.26, 0.6), (rear - 0.12, 0.74)]
        tail = [*back, (0.02, 0.72), (0.06, 0.34)]
        low, high = front - 0.42, front - 0.22
        shield = [(low, 0.3), (front - 0.3, 0.9), (high, 0.94), (front - 0.12, 0.62), (front - 0.2, 0.34)]
        _part(canvas, [(-0.1, 0.26), (-0.1, 0.33), (front - 0.3, 0.33), (front - 0.3, 0.26)], 0.36, BLACK)
        parts = [(tail, 0.36), (shield, 0.44)]
        for spots, width in parts if canvas.camera.angle > 0 else reversed(parts):
            _part(canvas, spots, width, self.colour)
        _part(canvas, [(rear - 0.16, 0.73), (rear - 0.1, 0.82), (0.0, 0.8), (0.06, 0.72)], 0.3, self.seat)
        if self.box:
            case = [(rear - 0.4, 0.86), (rear - 0.4, 1.28), (rear + 0.02, 1.28), (rear + 0.02, 0.86)]
            _part(canvas, case, 0.42, mixed(self.colour, WHITE, 0.4))


def scooter(rng: Random) -> Vehicle:
    """Return a motor scooter: a leg shield, a flat floor, small wheels."""
    machine = _Scooter(
        radius=rng.uniform(0.22, 0.26), base=rng.uniform(1.2, 1.32), box=rng.random() < 0.3, colour=paint_colour(rng),
        seat=rng.choice([(40, 38, 38), (120, 78, 48), (196, 176, 140)]),
        rider=_rider(rng, 0.08, chance=0.6, helmet=0.95),
    )  # fmt: skip
    return Vehicle(machine.base + 2 * machine.radius + 0.2, 1.72 if machine.rider else 1.25, 0.6, machine.paint)


@dataclass(frozen=True)
class _Motorcycle:
    """A motorcycle whose wheels stand ``base`` metres apart."""

    radius: float
    base: float
    sporty: bool
    bags: bool
    colour: Colour
    rider: _Rider | None

    def paint(self, canvas: Canvas) -> None:
        """Paint the motorcycle from back to front."""
        shadow(canvas, 2.0, 0.5)
        rear, front, hip, foot = -self.base / 2, self.base / 2, (-0.28, 0.84), (-0.2, 0.34)
        steer = (front - 0.32, 0.92)
        hand = (steer[0] - 0.08, 0.94 if self.sporty else 1.08)
        with _ridden(canvas, self.rider, hip, hand, (foot, foot), 0.2):
            for x in (rear, front):
                _wheel(canvas, x, self.radius, 0.12, spokes=6 if self.sporty else 12)
            self._paint_engine(canvas, rear)
            for z in (-0.09, 0.09):
                canvas.line([(*steer, z), (front, self.radius, z)], CHROME, 0.06)
            self._paint_covers(canvas, rear, front)
            _fender(canvas, front, self.radius, self.colour, 0.09)
            _bars(canvas, steer, hand, 0.34, 0.05)
            _lamps(canvas, (front - 0.14, 0.88, 0.0), (rear - 0.2, 0.82, 0.0), 0.11)

    def _paint_engine(self, canvas: Canvas, rear: float) -> None:
        canvas.line([(rear, self.radius, 0.06), (-0.1, 0.4, 0.06)], STEEL, 0.07)
        canvas.line([(rear + 0.1, self.radius + 0.1, 0.1), (rear + 0.24, 0.76, 0.1)], CHROME, 0.06)
        engine = [(-0.3, 0.3), (-0.34, 0.52), (-0.1, 0.68), (0.26, 0.68), (0.36, 0.42), (0.24, 0.26)]
        _part(canvas, engine, 0.3, (84, 86, 90))
        for y in (0.5, 0.56, 0.62):
            canvas.line([(-0.08, y, 0.16), (0.22, y + 0.02, 0.16)], CHROME, 0.03)
        pipe = [(0.3, 0.5, 0.17), (0.26, 0.28, 0.18), (-0.3, 0.26, 0.18), (rear - 0.1, 0.34, 0.18)]
        canvas.line(pipe[:3], CHROME, 0.06)
        canvas.line(pipe[2:], CHROME, 0.11)

    def _paint_covers(self, canvas: Canvas, rear: float, front: float) -> None:
        saddle = [(rear - 0.2, 0.86), (rear - 0.12, 0.92), (-0.3, 0.8), (-0.04, 0.8), (-0.1, 0.7), (-0.5, 0.68)]
        _part(canvas, saddle, 0.26, (36, 34, 36))
        _part(canvas, [(-0.12, 0.7), (-0.02, 0.9), (0.22, 0.96), (0.4, 0.86), (0.36, 0.7)], 0.3, self.colour)
        if self.sporty:
            nose = [(front - 0.32, 1.14), (front - 0.02, 0.86), (front - 0.26, 0.6)]
            _part(canvas, [(0.1, 0.4), (0.3, 0.86), *nose, (0.4, 0.34)], 0.36, self.colour)
            canvas.upright([(0.34, 0.94), (front - 0.36, 1.2), (front - 0.2, 1.04)], 0.1, (120, 140, 156))
        if self.bags:
            case = [(rear - 0.2, 0.42), (rear - 0.2, 0.76), (rear + 0.24, 0.76), (rear + 0.24, 0.42)]
            _part(canvas, case, 0.62, (56, 46, 42))


def motorcycle(rng: Random) -> Vehicle:
    """Return a motorcycle: fat wheels, an engine in the middle, a tank above it."""
    sporty = rng.random() < 0.45
    machine = _Motorcycle(
        radius=rng.uniform(0.3, 0.35), base=rng.uniform(1.35, 1.55), sporty=sporty,
        bags=not sporty and rng.random() < 0.3, colour=paint_colour(rng),
        rider=_rider(rng, 0.65 if sporty else 0.15, chance=0.55, helmet=1.0),
    )  # fmt: skip
    return Vehicle(machine.base + 2 * machine.radius, 1.7 if machine.rider else 1.15, 0.7, machine.paint)
