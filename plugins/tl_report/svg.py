"""Charts with round ticks, in pixels; svg.html.j2 draws them."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field

__all__ = ["CHARACTER_WIDTH", "Axis", "Chart", "Point"]

CHARACTER_WIDTH = 7
"""Pixels for a character of text at 12 px, a little more than most system fonts need."""

Point = tuple[float, float]


@dataclass(frozen=True)
class Axis:
    """The values from ``low`` to ``high``; ``ticks`` are the texts beside some of them."""

    label: str
    low: float
    high: float
    ticks: Mapping[float, str]

    @classmethod
    def around(cls, label: str, values: Collection[float]) -> Axis:
        """Return an axis from one round value to another that encloses the values."""
        low, high = min(values), max(values)
        step = _round_step(high - low or abs(low) or 1, 5)
        ticks = [n * step for n in range(math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9) + 1)]
        style = f".{max(0, -math.floor(math.log10(step) + 1e-9))}f" if 1e-5 < step < 1e5 else "g"
        return cls(label, ticks[0], ticks[-1], {tick: format(tick, style) for tick in ticks})

    @classmethod
    def whole(cls, label: str, low: float, high: float, text: Callable[[int], str] = str) -> Axis:
        """Return an axis from low to high with ticks at integers."""
        step = math.ceil(_round_step(high - low or 1, 8))
        inside = range(math.ceil(low / step) * step, math.floor(high) + 1, step)
        return cls(label, low, high, {n: text(n) for n in inside})

    @classmethod
    def logarithmic(cls, label: str, low: float, high: float) -> Axis:
        """Return an axis of decimal logarithms, for values from low to high, with ticks at powers of ten."""
        return cls.whole(label, math.log10(low), math.log10(high), lambda power: f"{10.0**power:g}")

    @property
    def text_width(self) -> int:
        """The width of the longest tick in pixels."""
        return CHARACTER_WIDTH * max(map(len, self.ticks.values()), default=0)

    def fraction(self, value: float) -> float:
        """Return where a value lies: 0 at ``low``, 1 at ``high``."""
        return (value - self.low) / (self.high - self.low) if self.high > self.low else 0.5


@dataclass(frozen=True)
class Chart:
    """Lines and dots over two axes, and a sentence that says the same. A style is a class of the style sheet."""

    title: str
    sentence: str
    x: Axis
    y: Axis
    lines: Mapping[str, Collection[Point]]  # by style
    legend: Mapping[str, str] = field(default_factory=dict)  # names by style
    dots: Sequence[tuple[str, Point, float]] = ()  # style, point, radius in pixels
    marker: tuple[float, str] | None = None  # a value of x, and its label
    width, height = 360, 280

    @property
    def area(self) -> tuple[int, int, int, int]:
        """The left, upper, right and lower edge of the area inside the axes, in pixels."""
        left = 14 + self.y.text_width + (16 if self.y.label else 0)
        return left, 24, self.width - max(14, self.x.text_width // 2 + 2), self.height - 44

    def place(self, x: float, y: float) -> Point:
        """Return a point in pixels."""
        left, top, right, bottom = self.area
        across, up = self.x.fraction(x), self.y.fraction(y)
        return round(left + across * (right - left), 1), round(bottom - up * (bottom - top), 1)

    def x_ticks(self) -> list[tuple[float, str]]:
        """Return the ticks of x, no more than fit side by side."""
        left, _, right, _ = self.area
        fitting = (right - left) // (self.x.text_width + 6)
        return list(self.x.ticks.items())[:: math.ceil(len(self.x.ticks) / fitting) or 1]


def _round_step(span: float, most: int) -> float:
    """Return 1, 2 or 5 times a power of ten: the smallest that divides a span into at most so many steps."""
    power = 10.0 ** math.floor(math.log10(span / most))
    return next(factor * power for factor in (1, 2, 5, 10) if span / (factor * power) <= most)
