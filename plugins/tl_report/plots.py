"""The figures of a report: learning curves, confusion matrix, calibration, ROC, PR, scatter, range test."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from rich.cells import cell_len

from tl_report.svg import CHARACTER_WIDTH, Axis, Chart, Point
from tl_report.wording import figure, metric_name, shortened, visible
from tlcore import Table

__all__ = ["PLOTS", "confusion_matrix", "learning_curve", "plots_of"]

LARGEST_MATRIX = 25
LABEL_COLUMNS = 16
LINES = 8
"""So many lines can be told apart by their dashes and colors."""
POINTS = 600
UNIT = (0.0, 1.0)
DIAGONAL = ((0.0, 0.0), (1.0, 1.0))


def learning_curve(history: Sequence[Mapping[str, Any]], key: str, best_epoch: int | None) -> Chart | None:
    """Return a metric by epoch, without values that are not finite; None where it has no others."""
    lines: dict[str, list[Point]] = {}
    for record in history:
        for split, name in (("train", "training"), ("validation", "validation")):
            value = record.get(split, {}).get(key)
            if isinstance(value, (int, float)) and math.isfinite(value):
                lines.setdefault(name, []).append((record["epoch"], value))
    if not lines:
        return None
    epochs, values = zip(*(point for line in lines.values() for point in line), strict=True)
    said = [f"{name} from {figure(line[0][1])} to {figure(line[-1][1])}" for name, line in lines.items()]
    said += [f"best epoch {best_epoch}"] if best_epoch else []
    x, y = Axis.whole("epoch", min(epochs), max(epochs)), Axis.around("", values)
    dots = [(name, p, 3.5) for name, line in lines.items() for p in line if p[0] == best_epoch or len(line) == 1]
    marker = (best_epoch, f"best: {best_epoch}") if best_epoch and best_epoch in epochs else None
    return Chart(metric_name(key), "; ".join(said), x, y, lines, {name: name for name in lines}, dots, marker)


def confusion_matrix(table: Table) -> dict[str, Any] | None:
    """Return labels and counts by name, and the sizes of the matrix in pixels; None for too many classes."""
    names = [str(name) for name in table.columns[1:]]
    if len(names) > LARGEST_MATRIX:
        return None
    labels = {name: shortened(visible(name), LABEL_COLUMNS) for name in names}
    rows = {str(name): dict(zip(names, counts, strict=True)) for name, *counts in table.rows}
    digits = max(len(str(count)) for row in rows.values() for count in row.values())
    left = 14 + CHARACTER_WIDTH * max(map(cell_len, labels.values()))
    top = 10 + round(0.71 * left)  # the names of columns are turned by 45 degrees
    size = max(44 if len(names) <= 10 else 30, 14 + 8 * digits)
    return {"labels": labels, "rows": rows, "size": size, "left": left, "top": top}


def plots_of(tables: Mapping[str, Table], metrics: Mapping[str, Any]) -> list[Chart]:
    """Return a chart for each table in ``PLOTS`` that has rows, in the order in which they are best read."""
    return [plot(tables[name], metrics) for name, plot in PLOTS.items() if name in tables and tables[name].rows]


def _reliability(table: Table, metrics: Mapping[str, Any]) -> Chart:
    bins = [dict(zip(table.columns, row, strict=True)) for row in table.rows]
    points = [(one["confidence"], one["accuracy"]) for one in bins]
    dots = [("line0", point, 3 + min(6, math.sqrt(one["n"]) / 4)) for one, point in zip(bins, points, strict=True)]
    commonest = max(bins, key=lambda one: one["n"])
    sentence = (
        f"On the line, predictions made with a confidence of 70 % would be right 70 % of the time. The commonest ones, "
        f"{commonest['n']:,} with a mean confidence of {commonest['confidence']:.0%}, were right in "
        f"{commonest['accuracy']:.0%}. Calibration error {figure(metrics['test'].get('ece'))}."
    )
    x, y = Axis.around("how sure it was", UNIT), Axis.around("how often it was right", UNIT)
    lines = {"diagonal": DIAGONAL, "line0": points}
    return Chart("Can its confidence be trusted?", sentence, x, y, lines, dots=dots)


def _roc(table: Table, metrics: Mapping[str, Any]) -> Chart:
    x, y = Axis.around("share of the others taken for it", UNIT), Axis.around("share of it that is found", UNIT)
    return _class_curves("ROC curves", table, x, y, "left", metrics["test"].get("roc_auc"))


def _precision_recall(table: Table, metrics: Mapping[str, Any]) -> Chart:
    x, y = Axis.around("recall", UNIT), Axis.around("precision", UNIT)
    return _class_curves("Precision and recall", table, x, y, "right", metrics["test"].get("pr_auc"))


def _class_curves(title: str, table: Table, x: Axis, y: Axis, corner: str, area: float | None) -> Chart:
    curves: dict[str, list[Point]] = {}
    for name, *point in table.rows:
        curves.setdefault(str(name), []).append((point[0], point[1]))
    legend = {f"line{n}": name for n, name in enumerate(list(curves)[:LINES])}
    lines: dict[str, Sequence[Point]] = {"diagonal": DIAGONAL} if corner == "left" else {}
    lines |= {style: curves[name] for style, name in legend.items()}
    more = f" The first {LINES} of {len(curves)} classes are drawn." if len(curves) > LINES else ""
    sentence = f"The nearer to the upper {corner} corner, the better; mean area {figure(area)}.{more}"
    return Chart(title, sentence, x, y, lines, legend)


def _scatter(table: Table, metrics: Mapping[str, Any]) -> Chart:
    error = figure(metrics["test"].get("mae"))
    sentence = f"Each point is a test example; on the line it is right. Mean absolute error {error}."
    values = [value for point in table.rows[:POINTS] for value in point]
    x, y = Axis.around("truth", values), Axis.around("prediction", values)
    lines = {"diagonal": [(x.low, x.low), (x.high, x.high)]}
    dots = [("faint", (truth, guess), 3) for truth, guess in table.rows[:POINTS]]
    return Chart("Truth against prediction", sentence, x, y, lines, dots=dots)


def _range_test(table: Table, metrics: Mapping[str, Any]) -> Chart:
    rates, losses = zip(*table.rows, strict=True)
    # What the loss explodes to at the end would press the rest of the curve flat.
    ceiling = min(max(losses), losses[0] + 1.5 * (losses[0] - min(losses)) + 1e-9)
    points = [(math.log10(rate), min(loss, ceiling)) for rate, loss in table.rows]
    x = Axis.logarithmic("learning rate", rates[0], rates[-1])
    y = Axis.around("loss", [loss for _, loss in points])
    chosen = metrics["lr_find"]
    sentence = f"The loss while the learning rate grew. Chosen: {chosen:g}, a tenth of the rate with the lowest loss."
    return Chart("Which learning rate", sentence, x, y, {"line0": points}, marker=(math.log10(chosen), f"{chosen:g}"))


PLOTS = {
    "reliability": _reliability,
    "roc": _roc,
    "precision_recall": _precision_recall,
    "scatter": _scatter,
    "lr_find": _range_test,
}
"""Functions that plot a table, by the table's name."""
