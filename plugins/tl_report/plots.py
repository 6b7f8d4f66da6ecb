"""Pictures of two axes as inline SVG: calibration, ROC, precision-recall, the range test, truth against prediction."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from tl_report.charts import shortened
from tl_report.wording import figure, visible
from tlcore import Table

__all__ = ["Plot", "plots_of"]

SIDE = 300
LEFT, BOTTOM, TOP, RIGHT = 60, 44, 12, 12
LINES = 8
"""So many lines can be told apart by their dashes and shades."""
POINTS = 600


@dataclass(frozen=True)
class Plot:
    """A picture with its title and a sentence that says the same."""

    title: str
    picture: Markup
    sentence: str
    keys: Sequence[tuple[str, str]] = ()
    """Style and name of each line, where there are several."""


@dataclass(frozen=True)
class _Axis:
    label: str
    low: float
    high: float
    logarithmic: bool = False

    def place(self, value: float, length: float) -> float:
        if self.logarithmic:
            low, high, value = math.log10(self.low), math.log10(self.high), math.log10(value)
        else:
            low, high = self.low, self.high
        return (value - low) / ((high - low) or 1.0) * length

    def ticks(self) -> list[float]:
        if self.logarithmic:
            first, last = math.ceil(math.log10(self.low)), math.floor(math.log10(self.high))
            return [10.0**n for n in range(first, last + 1, 2 if last - first > 4 else 1)]
        return [self.low + (self.high - self.low) * n / 4 for n in range(5)]


def plots_of(tables: Mapping[str, Table], metrics: Mapping[str, Any]) -> list[Plot]:
    """Return a picture for each table that is known to be one, in the order in which they are best read."""
    test = metrics["test"]
    makers = {
        "reliability": lambda table: _reliability(table, test),
        "roc": lambda table: _curves(
            table, "ROC curves", "share of the others taken for it", "share of it that is found", test.get("roc_auc"),
            diagonal=True,
        ),
        "precision_recall": lambda table: _curves(
            table, "Precision and recall", "recall", "precision", test.get("pr_auc"), diagonal=False
        ),
        "scatter": lambda table: _scatter(table, test),
        "lr_find": lambda table: _range_test(table, metrics.get("lr_find")),
    }  # fmt: skip
    return [makers[name](tables[name]) for name in makers if name in tables and tables[name].rows]


def _reliability(table: Table, test: Mapping[str, Any]) -> Plot:
    bins = [dict(zip(table.columns, row, strict=True)) for row in table.rows]
    x, y = _Axis("how sure it was", 0, 1), _Axis("how often it was right", 0, 1)
    parts = [
        _line("diagonal", [(0, 0), (1, 1)], x, y),
        _line("first", [(b["confidence"], b["accuracy"]) for b in bins], x, y),
    ]
    parts += [_dot("first", b["confidence"], b["accuracy"], x, y, 3 + min(6, math.sqrt(b["n"]) / 4)) for b in bins]
    sure = max(bins, key=lambda one: one["n"])
    sentence = (
        f"On the line, predictions made with a confidence of 70 % would be right 70 % of the time. The commonest ones, "
        f"{sure['n']:,} with a mean confidence of {sure['confidence']:.0%}, were right in {sure['accuracy']:.0%}. "
        f"Calibration error {figure(test.get('ece'))}."
    )
    return Plot("Can its confidence be trusted?", _picture("Calibration", sentence, parts, x, y), sentence)


def _curves(table: Table, title: str, x_label: str, y_label: str, area: Any, *, diagonal: bool) -> Plot:
    by_class: dict[str, list[tuple[float, float]]] = defaultdict(list)
    for name, first, second in table.rows:
        by_class[str(name)].append((float(first), float(second)))
    x, y = _Axis(x_label, 0, 1), _Axis(y_label, 0, 1)
    parts = [_line("diagonal", [(0, 0), (1, 1)], x, y)] if diagonal else []
    shown = list(by_class.items())[:LINES]
    parts += [_line(f"line{n}", points, x, y, name) for n, (name, points) in enumerate(shown)]
    more = f" The first {LINES} of {len(by_class)} classes are drawn." if len(by_class) > LINES else ""
    sentence = (
        f"The nearer to the upper {'left' if diagonal else 'right'} corner, the better; mean area {figure(area)}.{more}"
    )
    keys = [(f"line{n}", name) for n, (name, _) in enumerate(shown)]
    return Plot(title, _picture(title, sentence, parts, x, y), sentence, keys)


def _scatter(table: Table, test: Mapping[str, Any]) -> Plot:
    points = [(float(truth), float(guess)) for truth, guess in table.rows[:POINTS]]
    low, high = min(min(pair) for pair in points), max(max(pair) for pair in points)
    x, y = _Axis("truth", low, high), _Axis("prediction", low, high)
    parts = [_line("diagonal", [(low, low), (high, high)], x, y)]
    parts += [_dot("first faint", truth, guess, x, y, 3) for truth, guess in points]
    sentence = f"Each point is a test example; on the line it is right. Mean absolute error {figure(test.get('mae'))}."
    return Plot("Truth against prediction", _picture("Truth against prediction", sentence, parts, x, y), sentence)


def _range_test(table: Table, chosen: Any) -> Plot:
    points = [(float(rate), float(loss)) for rate, loss in table.rows]
    losses = [loss for _, loss in points]
    # What the loss explodes to at the end would press the rest of the curve flat.
    ceiling = min(max(losses), losses[0] + 1.5 * (losses[0] - min(losses)) + 1e-9)
    x = _Axis("learning rate", points[0][0], points[-1][0], logarithmic=True)
    y = _Axis("loss", min(losses), ceiling)
    parts = [_line("first", [(rate, min(loss, ceiling)) for rate, loss in points], x, y)]
    sentence = "The loss while the learning rate grew."
    if isinstance(chosen, float):
        parts.append(_line("best", [(chosen, y.low), (chosen, y.high)], x, y))
        sentence += f" Chosen: {chosen:g}, a tenth of the rate with the lowest loss."
    return Plot("Which learning rate", _picture("Range test", sentence, parts, x, y), sentence)


def _picture(title: str, sentence: str, parts: Sequence[Markup], x: _Axis, y: _Axis) -> Markup:
    width, height = SIDE - LEFT - RIGHT, SIDE - TOP - BOTTOM
    frame = [Markup("<title>{}</title><desc>{}</desc>").format(visible(title), visible(sentence))]
    for tick in y.ticks():
        at = TOP + height - y.place(tick, height)
        frame.append(_rule("grid", LEFT, at, SIDE - RIGHT, at))
        frame.append(_text(LEFT - 6, at + 4, _short(tick), "end"))
    for tick in x.ticks():
        frame.append(_text(LEFT + x.place(tick, width), SIDE - BOTTOM + 16, _short(tick), "middle"))
    frame.append(_text(LEFT + width / 2, SIDE - 6, x.label, "middle"))
    frame.append(
        Markup('<text transform="translate(12 {:.1f}) rotate(-90)" text-anchor="middle">{}</text>').format(
            TOP + height / 2, visible(y.label)
        )
    )
    start = Markup('<svg class="chart" role="img" viewBox="0 0 {0} {0}" style="min-width:{1}px;max-width:{2}px">')
    body = Markup("").join([*frame, *parts])
    return start.format(SIDE, round(SIDE * 0.8), round(SIDE * 1.3)) + body + Markup("</svg>")


def _line(style: str, points: Sequence[tuple[float, float]], x: _Axis, y: _Axis, name: str = "") -> Markup:
    width, height = SIDE - LEFT - RIGHT, SIDE - TOP - BOTTOM
    placed = " ".join(f"{LEFT + x.place(a, width):.1f},{TOP + height - y.place(b, height):.1f}" for a, b in points)
    inner = Markup("<title>{}</title>").format(visible(shortened(name, 60))) if name else Markup("")
    return Markup('<polyline class="{}" points="{}">{}</polyline>').format(style, placed, inner)


def _dot(style: str, a: float, b: float, x: _Axis, y: _Axis, radius: float) -> Markup:
    width, height = SIDE - LEFT - RIGHT, SIDE - TOP - BOTTOM
    at = LEFT + x.place(a, width), TOP + height - y.place(b, height)
    return Markup('<circle class="{}" cx="{:.1f}" cy="{:.1f}" r="{:.1f}"/>').format(style, *at, radius)


def _rule(style: str, x1: float, y1: float, x2: float, y2: float) -> Markup:
    line = Markup('<line class="{}" x1="{:.1f}" y1="{:.1f}" x2="{:.1f}" y2="{:.1f}"/>')
    return line.format(style, x1, y1, x2, y2)


def _text(x: float, y: float, text: str, anchor: str) -> Markup:
    return Markup('<text x="{:.1f}" y="{:.1f}" text-anchor="{}">{}</text>').format(x, y, anchor, visible(text))


def _short(value: float) -> str:
    return f"{value:.0e}".replace("e-0", "e-") if 0 < abs(value) < 0.001 else f"{value:.3g}"
