"""Pictures of two axes: inside their frame, with a sentence that says the same, and nothing foreign as markup."""

import re
import xml.etree.ElementTree as ElementTree

import pytest

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


@pytest.mark.parametrize("name", TABLES)
def test_each_picture_stays_in_its_frame_and_is_described(name):
    (plot,) = plots_of({name: TABLES[name]}, METRICS)
    tree = ElementTree.fromstring(str(plot.picture))
    assert tree.find("title").text
    assert tree.find("desc").text == plot.sentence
    numbers = [
        float(value)
        for line in tree.iter("polyline")
        for pair in line.get("points").split()
        for value in pair.split(",")
    ] + [float(dot.get(key)) for dot in tree.iter("circle") for key in ("cx", "cy")]
    assert numbers
    assert all(0 <= value <= 300 for value in numbers)


def test_they_come_in_a_fixed_order_and_only_where_there_is_something():
    assert len(plots_of(TABLES, METRICS)) == 5
    assert plots_of({"roc": Table(("class", "x", "y"), ()), "other": CURVE}, METRICS) == []


def test_names_of_classes_are_text():
    (plot,) = plots_of({"roc": CURVE}, METRICS)
    assert "<b>" not in plot.picture
    assert [name for _, name in plot.keys] == ["<b>a</b>", "b"]  # the page escapes them


def test_many_classes_are_cut_and_it_is_said():
    rows = tuple((f"class {n}", 0.5, 0.5) for n in range(30))
    (plot,) = plots_of({"roc": Table(("class", "x", "y"), rows)}, METRICS)
    assert "The first 8 of 30 classes" in plot.sentence
    assert len(re.findall("<polyline", plot.picture)) == 9


def test_a_loss_that_explodes_does_not_press_the_curve_flat():
    (plot,) = plots_of({"lr_find": TABLES["lr_find"]}, METRICS)
    ticks = [text.text for text in ElementTree.fromstring(str(plot.picture)).iter("text")]
    assert "90" not in ticks
    assert "Chosen: 1e-05" in plot.sentence


def test_a_truth_that_never_varies_has_a_picture_too():
    (plot,) = plots_of({"scatter": Table(("truth", "prediction"), ((2.0, 2.0), (2.0, 2.0)))}, METRICS)
    assert "nan" not in plot.picture
