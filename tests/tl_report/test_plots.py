"""Charts of two axes: inside their frame, with a sentence that says the same, and nothing foreign as markup."""

import itertools
import re
import xml.etree.ElementTree as ElementTree

import pytest

from tests.support.reports import NOWHERE, finished
from tl_report.html import rendered
from tl_report.plots import plots_of
from tlcore import Table

CURVE = Table(("class", "x", "y"), (("<b>a</b>", 0.0, 0.0), ("<b>a</b>", 0.4, 0.9), ("b", 0.0, 0.0), ("b", 1.0, 1.0)))
TABLES = {
    "reliability": Table(("from", "to", "n", "confidence", "accuracy"), ((0.4, 0.5, 3, 0.45, 0.3), (0.9, 1, 9, 1, 1))),
    "roc": CURVE,
    "precision_recall": CURVE,
    "scatter": Table(("truth", "prediction"), ((-3.0, 2.5), (100.0, 80.0))),
    "lr_find": Table(("lr", "loss"), ((1e-7, 1.0), (1e-4, 0.5), (1e-1, 90.0))),
}
METRICS = {"test": {"ece": 0.05, "roc_auc": 0.9, "pr_auc": 0.8, "mae": 4.0}, "lr_find": 1e-5}


def drawn(name, table):
    """Return the chart of a table as the page has it."""
    metrics = finished(NOWHERE).metrics | {"lr_find": METRICS["lr_find"]}
    page = rendered(finished(NOWHERE, tables={name: table}, metrics=metrics))
    (svg,) = re.findall('<svg class="chart" role.*?</svg>', page[page.index('id="pictures"') :], re.DOTALL)
    return ElementTree.fromstring(svg)


def texts(svg):
    return [text.text for text in svg.iter("text")]


@pytest.mark.parametrize("name", TABLES)
def test_each_chart_stays_in_its_frame_and_is_described(name):
    svg = drawn(name, TABLES[name])
    assert svg.find("title").text
    assert svg.find("desc").text
    width, height = map(int, svg.get("viewBox").split()[2:])
    pairs = " ".join(line.get("points") for line in svg.iter("polyline")).split()
    points = [tuple(map(float, pair.split(","))) for pair in pairs]
    points += [(float(dot.get("cx")), float(dot.get("cy"))) for dot in svg.iter("circle")]
    assert points
    assert all(0 <= x <= width and 0 <= y <= height for x, y in points)


def test_they_come_in_a_fixed_order_and_only_where_there_is_something():
    assert len(plots_of(TABLES, METRICS)) == 5
    assert plots_of({"roc": Table(("class", "x", "y"), ()), "other": CURVE}, METRICS) == []


def test_names_of_classes_are_text():
    titles = [line.find("title") for line in drawn("roc", CURVE).iter("polyline")]
    assert [title.text for title in titles if title is not None] == ["<b>a</b>", "b"]


def test_many_classes_are_cut_and_it_is_said():
    svg = drawn("roc", Table(("class", "x", "y"), tuple((f"class {n}", 0.5, 0.5) for n in range(30))))
    assert "The first 8 of 30 classes" in svg.find("desc").text
    assert len(list(svg.iter("polyline"))) == 9


@pytest.mark.parametrize(
    ("low", "high", "ticks"),
    [
        (0.13, 0.91, ["0.0", "0.2", "0.4", "0.6", "0.8", "1.0"]),
        (-3.0, 100.0, ["-50", "0", "50", "100"]),
        (1.1e6, 3.4e6, ["1e+06", "2e+06", "3e+06"]),
    ],
)
def test_ticks_are_round_and_do_not_overlap(low, high, ticks):
    svg = drawn("scatter", Table(("truth", "prediction"), ((low, high), (high, low))))
    *below, label, _ = [text for text in svg.iter("text") if text.get("class") is None]
    assert [text.text for text in below] == ticks
    assert label.text == "truth"
    places = [float(text.get("x")) for text in below]
    assert all(b - a > 7 * len(ticks[-1]) for a, b in itertools.pairwise(places))


def test_a_loss_that_explodes_does_not_press_the_curve_flat():
    svg = drawn("lr_find", TABLES["lr_find"])
    assert "90" not in texts(svg)
    assert {"1e-07", "0.001", "0.1"} <= set(texts(svg))
    assert "Chosen: 1e-05" in svg.find("desc").text


def test_a_truth_that_never_varies_has_a_chart_too():
    svg = drawn("scatter", Table(("truth", "prediction"), ((2.0, 2.0), (2.0, 2.0))))
    assert "nan" not in ElementTree.tostring(svg, "unicode")
    assert texts(svg).count("2.0") == 2
