"""Pictures as inline SVG: learning curves and the confusion matrix, coloured by the page's own variables."""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from tl_report.wording import figure, visible
from tlcore import Table

__all__ = ["LARGEST_MATRIX", "Curve", "confusion_picture", "curves_picture", "shortened", "worst_confusions"]

LARGEST_MATRIX = 25
WIDTH, HEIGHT = 420, 240
LEFT, RIGHT, TOP, BOTTOM = 46, 14, 22, 40
SMALLEST_CELL = 30
LABEL_COLUMNS = 16
COLUMN_WIDTH = 7.0
"""Units of a picture for a column of text at 12 px, a little more than the widest system font needs on average."""
SHADES = 8


@dataclass(frozen=True)
class Curve:
    """A named line through points (epoch, value); ``style`` is a class of the style sheet."""

    name: str
    points: Sequence[tuple[int, float]]
    style: str


def curves_picture(title: str, curves: Sequence[Curve], best_epoch: int | None) -> Markup:
    """Return curves over the epochs, with the best epoch marked."""
    epochs = [epoch for curve in curves for epoch, _ in curve.points]
    values = [value for curve in curves for _, value in curve.points]
    first, last = min(epochs), max(epochs)
    ticks = _ticks(min(values), max(values))

    def x(epoch: float) -> float:
        return LEFT + ((epoch - first) / (last - first) if last > first else 0.5) * (WIDTH - LEFT - RIGHT)

    def y(value: float) -> float:
        return TOP + (ticks[-1] - value) / (ticks[-1] - ticks[0]) * (HEIGHT - TOP - BOTTOM)

    parts = [_described(title, curves, best_epoch)]
    for tick, text in zip(ticks, _alike(ticks), strict=True):
        parts.append(_line("grid", LEFT, y(tick), WIDTH - RIGHT, y(tick)))
        parts.append(_text(LEFT - 8, y(tick) + 4, text, "end"))
    parts += [_text(x(epoch), HEIGHT - BOTTOM + 18, str(epoch), "middle") for epoch in _epoch_ticks(first, last)]
    parts.append(_text((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 4, "epoch", "middle"))
    if best_epoch is not None and first <= best_epoch <= last:
        parts.append(_line("best", x(best_epoch), TOP, x(best_epoch), HEIGHT - BOTTOM))
        anchor = "start" if x(best_epoch) < WIDTH / 4 else "end" if x(best_epoch) > WIDTH * 3 / 4 else "middle"
        parts.append(_text(x(best_epoch), TOP - 8, f"best: {best_epoch}", anchor))
    for curve in curves:
        points = " ".join(f"{x(epoch):.1f},{y(value):.1f}" for epoch, value in curve.points)
        parts.append(Markup('<polyline class="{}" points="{}"/>').format(curve.style, points))
        for epoch, value in curve.points:
            if epoch == best_epoch or first == last:
                dot = Markup('<circle class="{}" cx="{:.1f}" cy="{:.1f}" r="3.5"/>')
                parts.append(dot.format(curve.style, x(epoch), y(value)))
    return _svg(WIDTH, HEIGHT, parts, "chart")


def confusion_picture(table: Table) -> Markup | None:
    """Return the confusion matrix as a heat map, each row shaded by its shares; None for too many classes."""
    names = [str(name) for name in table.columns[1:]]
    if len(names) > LARGEST_MATRIX:
        return None
    labels = [shortened(visible(name), LABEL_COLUMNS) for name in names]
    room = 14 + COLUMN_WIDTH * max(map(_columns, labels))
    digits = max(len(str(count)) for row in table.rows for count in row[1:])
    size = max(SMALLEST_CELL, 14 + 8 * digits, 44 if len(names) <= 10 else 0)
    slant = 0.71 * room  # column names stand at 45 degrees
    parts = [Markup("<title>Confusion matrix: rows are the truth, columns the prediction</title>")]
    for column, (name, label) in enumerate(zip(names, labels, strict=True)):
        place = f"translate({room + (column + 0.5) * size:.1f} {slant + 2:.1f}) rotate(-45)"
        parts.append(_named(Markup('<text transform="{}">{}</text>').format(place, label), name))
    for row, cells in enumerate(table.rows):
        y = slant + 10 + row * size
        parts.append(_named(_text(room - 8, y + size / 2 + 4, labels[row], "end"), names[row]))
        for column, count in enumerate(cells[1:]):
            parts.append(_cell(names, row, column, count, sum(cells[1:]), (room + column * size, y, size)))
    return _svg(room + size * len(names) + slant, slant + 14 + size * len(names), parts, "matrix")


def worst_confusions(table: Table, most: int = 15) -> list[tuple[str, str, int, int]]:
    """Return truth, prediction, count and the number of examples of the truth for the commonest mistakes."""
    names = [str(name) for name in table.columns[1:]]
    pairs = [
        (str(row[0]), names[n], int(count), int(sum(row[1:])))
        for r, row in enumerate(table.rows)
        for n, count in enumerate(row[1:])
        if n != r and count
    ]
    return sorted(pairs, key=lambda pair: (-pair[2], pair[0], pair[1]))[:most]


def shortened(text: str, columns: int) -> str:
    """Return a text of at most so many columns of a fixed-width font, cut in its middle: both ends tell names apart."""
    if _columns(text) <= columns:
        return text
    start, end = text[: columns // 2], text[-(columns // 2) :]
    while _columns(start) > columns // 2:
        start = start[:-1]
    while _columns(end) > columns - 1 - columns // 2:
        end = end[1:]
    return f"{start}…{end}"


def _cell(
    names: Sequence[str], row: int, column: int, count: int, total: int, place: tuple[float, float, float]
) -> Markup:
    """Return one cell of the matrix; its shade is a step, so that its number can be read on every one."""
    x, y, size = place
    shade = math.ceil(count / total * SHADES) if total else 0
    said = "{} taken for {}" if row != column else "{} recognised"
    said = said.format(visible(names[row]), visible(names[column]))
    box = Markup(
        '<g class="{} shade{}"><title>{}: {} of {} ({:.0%})</title>'
        '<rect x="{:.1f}" y="{:.1f}" width="{}" height="{}" rx="2"/>'
    ).format("hit" if row == column else "miss", shade, said, count, total, count / (total or 1), x, y, size - 2,
             size - 2)  # fmt: skip
    number = _text(x + size / 2 - 1, y + size / 2 + 3, str(count), "middle") if count else Markup("")
    return box + number + Markup("</g>")


def _described(title: str, curves: Sequence[Curve], best_epoch: int | None) -> Markup:
    said = [f"{curve.name} from {figure(curve.points[0][1])} to {figure(curve.points[-1][1])}" for curve in curves]
    if best_epoch is not None:
        said.append(f"best epoch {best_epoch}")
    return Markup("<title>{}</title><desc>{}</desc>").format(visible(title), visible("; ".join(said)))


def _svg(width: float, height: float, parts: Sequence[Markup], style: str) -> Markup:
    """Return the picture; it shrinks to four fifths of its size, and scrolls in its frame where that is too wide."""
    start = Markup(
        '<svg class="{}" role="img" viewBox="0 0 {:.0f} {:.0f}" style="min-width:{:.0f}px;max-width:{:.0f}px">'
    )
    return start.format(style, width, height, width * 0.8, width * 1.2) + Markup("").join(parts) + Markup("</svg>")


def _line(style: str, x1: float, y1: float, x2: float, y2: float) -> Markup:
    line = Markup('<line class="{}" x1="{:.1f}" y1="{:.1f}" x2="{:.1f}" y2="{:.1f}"/>')
    return line.format(style, x1, y1, x2, y2)


def _text(x: float, y: float, text: str, anchor: str) -> Markup:
    return Markup('<text x="{:.1f}" y="{:.1f}" text-anchor="{}">{}</text>').format(x, y, anchor, text)


def _named(label: Markup, name: str) -> Markup:
    return Markup("<g><title>{}</title>{}</g>").format(visible(name), label)


def _columns(text: str) -> int:
    return sum(2 if unicodedata.east_asian_width(character) in "WF" else 1 for character in text)


def _ticks(low: float, high: float) -> list[float]:
    """Return three to seven round values that enclose low and high."""
    if low == high:
        low, high = low - (abs(low) or 1.0) * 0.1, high + (abs(high) or 1.0) * 0.1
    span = high - low
    step = 10 ** math.floor(math.log10(span / 4))
    step *= next(factor for factor in (1, 2, 5, 10) if span / (step * factor) <= 5)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [float(f"{n * step:.12g}") for n in range(first, last + 1)]


def _alike(ticks: Sequence[float]) -> list[str]:
    """Return ticks with as many decimals as the finest needs; very small and very large ones with an exponent."""
    written = [f"{tick:g}" for tick in ticks]
    if any("e" in text for text in written):
        return written
    decimals = max(len(text.partition(".")[2]) for text in written)
    return [f"{tick:.{decimals}f}" for tick in ticks]


def _epoch_ticks(first: int, last: int) -> list[int]:
    """Return round epochs, and the first; the step grows so that at most eight stand below the chart."""
    span = last - first
    step = 1 if span < 8 else next(f * 10**p for p in range(12) for f in (1, 2, 5) if span / (f * 10**p) <= 6)
    inner = [epoch for epoch in range(first + 1, last + 1) if epoch % step == 0 and epoch - first >= step / 2]
    return [first, *inner]
