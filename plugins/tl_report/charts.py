"""Pictures as inline SVG: learning curves and the confusion matrix, coloured by the page's own variables."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from tlcore import Table

__all__ = ["LARGEST_MATRIX", "Curve", "confusion_picture", "curves_picture", "worst_confusions"]

LARGEST_MATRIX = 25
WIDTH, HEIGHT = 460, 240
LEFT, RIGHT, TOP, BOTTOM = 48, 12, 14, 34
CELL = 44
LABEL_CHARACTERS = 18


@dataclass(frozen=True)
class Curve:
    """A named line over epochs; ``style`` is a class of the style sheet."""

    name: str
    values: Sequence[float]
    style: str


def curves_picture(title: str, curves: Sequence[Curve], best_epoch: int) -> Markup:
    """Return curves over the epochs from 1, with the best epoch marked."""
    epochs = max(len(curve.values) for curve in curves)
    ticks = _ticks(min(min(c.values) for c in curves), max(max(c.values) for c in curves))
    low, high = ticks[0], ticks[-1]

    def x(epoch: float) -> float:
        return LEFT + (epoch - 1) / max(epochs - 1, 1) * (WIDTH - LEFT - RIGHT)

    def y(value: float) -> float:
        return TOP + (high - value) / (high - low) * (HEIGHT - TOP - BOTTOM)

    said = "; ".join(f"{curve.name} from {curve.values[0]:.3f} to {curve.values[-1]:.3f}" for curve in curves)
    parts = [Markup("<title>{}</title><desc>{}, best epoch {}</desc>").format(title, said, best_epoch)]
    for tick in ticks:
        parts.append(_line("grid", LEFT, y(tick), WIDTH - RIGHT, y(tick)))
        parts.append(_text(LEFT - 6, y(tick) + 4, f"{tick:g}", "end"))
    for epoch in sorted({1, *_whole(epochs), epochs}):
        parts.append(_text(x(epoch), HEIGHT - BOTTOM + 16, str(epoch), "middle"))
    parts.append(_text((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 2, "epoch", "middle"))
    parts.append(_line("best", x(best_epoch), TOP, x(best_epoch), HEIGHT - BOTTOM))
    for curve in curves:
        points = " ".join(f"{x(n + 1):.1f},{y(value):.1f}" for n, value in enumerate(curve.values))
        parts.append(Markup('<polyline class="{}" points="{}"/>').format(curve.style, points))
        for n, value in enumerate(curve.values if epochs == 1 else ()):
            parts.append(Markup('<circle class="{}" cx="{}" cy="{}" r="3"/>').format(curve.style, x(n + 1), y(value)))
    return _svg(WIDTH, HEIGHT, parts, "chart")


def confusion_picture(table: Table) -> Markup | None:
    """Return the confusion matrix as a heat map, each row coloured by its shares; None for too many classes."""
    names = [str(name) for name in table.columns[1:]]
    if len(names) > LARGEST_MATRIX:
        return None
    longest = min(LABEL_CHARACTERS, max(map(len, names)))
    left, top = 20 + 7.2 * longest, 16 + 5.4 * longest
    size = CELL if len(names) <= 12 else 32
    width, height = left + size * len(names) + 5.4 * longest, top + size * len(names) + 24
    parts = [Markup("<title>Confusion matrix: rows are the truth, columns the prediction</title>")]
    for column, name in enumerate(names):
        place = f"translate({left + (column + 0.5) * size:.1f} {top - 8:.1f}) rotate(-42)"
        parts.append(Markup('<text transform="{}">{}</text>').format(place, _shortened(name)))
    for row, cells in enumerate(table.rows):
        total = sum(cells[1:]) or 1
        y = top + row * size
        parts.append(_text(left - 8, y + size / 2 + 4, _shortened(names[row]), "end"))
        for column, count in enumerate(cells[1:]):
            share = count / total
            style = ("hit" if row == column else "miss") + (" strong" if share > 0.55 else "")
            box = Markup(
                '<g class="cell {}"><title>{} taken for {}: {} of {}</title>'
                '<rect x="{:.1f}" y="{:.1f}" width="{}" height="{}" style="--share:{:.3f}"/>'
            ).format(style, names[row], names[column], count, total, left + column * size, y, size - 2, size - 2, share)
            number = _text(left + (column + 0.5) * size - 1, y + size / 2 + 4, str(count), "middle") if count else ""
            parts.append(box + number + Markup("</g>"))
    return _svg(width, height, parts, "matrix")


def worst_confusions(table: Table, most: int = 15) -> list[tuple[str, str, int]]:
    """Return truth, prediction and count of the commonest mistakes."""
    names = [str(name) for name in table.columns[1:]]
    pairs = [
        (str(row[0]), names[n], int(count))
        for r, row in enumerate(table.rows)
        for n, count in enumerate(row[1:])
        if n != r and count
    ]
    return sorted(pairs, key=lambda pair: (-pair[2], pair[0], pair[1]))[:most]


def _svg(width: float, height: float, parts: Sequence[Markup], style: str) -> Markup:
    start = Markup('<svg class="{}" role="img" viewBox="0 0 {:.0f} {:.0f}" style="max-width:{:.0f}px">')
    return start.format(style, width, height, width * 1.25) + Markup("").join(parts) + Markup("</svg>")


def _line(style: str, x1: float, y1: float, x2: float, y2: float) -> Markup:
    line = Markup('<line class="{}" x1="{:.1f}" y1="{:.1f}" x2="{:.1f}" y2="{:.1f}"/>')
    return line.format(style, x1, y1, x2, y2)


def _text(x: float, y: float, text: str, anchor: str) -> Markup:
    return Markup('<text x="{:.1f}" y="{:.1f}" text-anchor="{}">{}</text>').format(x, y, anchor, text)


def _shortened(name: str) -> str:
    return name if len(name) <= LABEL_CHARACTERS else name[: LABEL_CHARACTERS - 1] + "…"


def _ticks(low: float, high: float) -> list[float]:
    """Return four to six round values that enclose low and high."""
    span = (high - low) or max(abs(high), 1.0) * 0.1
    step = 10 ** math.floor(math.log10(span / 4))
    step *= next(factor for factor in (1, 2, 5, 10) if span / (step * factor) <= 5)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [round(n * step, 10) for n in range(first, max(last, first + 1) + 1)]


def _whole(epochs: int) -> list[int]:
    step = max(1, math.ceil(epochs / 6 / 5) * 5) if epochs > 8 else 1
    return [epoch for epoch in range(step, epochs + 1, step) if epoch == epochs or epochs - epoch >= step / 2]
