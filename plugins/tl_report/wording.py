"""The same words and figures for the console and the page, and the one place that makes foreign text harmless."""

from __future__ import annotations

import math
import re
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.cells import cell_len, chop_cells

from tlcore.support import redacted

__all__ = [
    "counted",
    "duration",
    "figure",
    "headline",
    "in_plain_words",
    "metric_name",
    "next_command",
    "scalars",
    "short_name",
    "shortened",
    "visible",
]

METRIC_NAMES = {
    "n": "examples",
    "macro_f1": "macro F1",
    "weighted_f1": "weighted F1",
    "micro_f1": "micro F1",
    "roc_auc": "ROC area",
    "pr_auc": "precision-recall area",
    "map": "mean average precision",
    "exact": "whole sets right",
    "ece": "calibration error",
    "mae": "mean absolute error",
    "rmse": "root mean squared error",
    "r2": "R²",
}
HIDDEN = ("n",)
STEERING = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
"""Control characters, and those that change the direction of what follows, and so can disguise a name as another."""


def visible(text: str) -> str:
    """Return a text without secrets, in which characters that would steer a terminal or the reading are escaped."""
    return STEERING.sub(lambda match: match[0].encode("unicode_escape").decode("ascii"), redacted(text))


def shortened(text: str, columns: int) -> str:
    """Return a text of at most so many columns of a fixed-width font, cut in its middle: both ends tell names apart."""
    if cell_len(text) <= columns:
        return text
    start = chop_cells(text, columns // 2)[0]
    end = chop_cells(text[::-1], columns - columns // 2 - 1)[0][::-1]
    return f"{start}…{end}"


def metric_name(key: str) -> str:
    """Return a metric's name for people."""
    if key.startswith("top_") and key[4:].isdigit():
        return f"truth among the top {key[4:]}"
    return METRIC_NAMES.get(key, key.replace("_", " "))


def figure(value: Any) -> str:
    """Return a number as it is printed everywhere: whole numbers whole, others to three places."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return "none" if value is None else str(value)
    if isinstance(value, int):
        return f"{value:,}"
    return f"{value:.3f}" if 0.001 <= abs(value) < 1000 or value == 0 else f"{value:.3g}"


def counted(count: int, word: str) -> str:
    """Return a count with its noun."""
    return f"{count:,} {word}" + ("" if count == 1 else "es" if word.endswith("s") else "s")


def scalars(metrics: Mapping[str, Any]) -> dict[str, float]:
    """Return the metrics that are single numbers, by their keys."""
    return {
        key: value
        for key, value in metrics.items()
        if isinstance(value, (int, float)) and not isinstance(value, bool) and key not in HIDDEN
    }


def headline(metrics: Mapping[str, Any]) -> str:
    """Return the result in one sentence, beside what always guessing the commonest class would give."""
    test, key = metrics["test"], metrics["selection"]["metric"]
    text = f"{metric_name(key)} {figure(test[key])} on {counted(test['n'], 'test example')}"
    majority = test.get("majority")
    if isinstance(majority, Mapping) and key in majority:
        text += f"; always guessing “{majority['class']}” gives {figure(majority[key])}"
    elif not metrics["selection"].get("higher_is_better", True):
        baseline = test.get("baseline")
        text += " (lower is better"
        if isinstance(baseline, Mapping) and key in baseline:
            text += f"; always guessing {figure(baseline['guess'])} gives {figure(baseline[key])}"
        text += ")"
    return text


def in_plain_words(test: Mapping[str, Any]) -> str | None:
    """Return how many test examples were right and how sure that share is; None for a task without accuracy."""
    if "per_class" not in test or not isinstance(test.get("accuracy"), float) or not test["n"]:
        return None
    right, n = round(test["accuracy"] * test["n"]), test["n"]
    low, high = _wilson(right, n)
    return (
        f"It gets {right:,} of {n:,} right: an accuracy between {100 * low:.0f}% and {100 * high:.0f}% "
        "on new data of the same kind (95% confidence interval)."
    )


def next_command(folder: Path) -> str:
    """Return the command that uses the model, ready for a shell."""
    return f"tl predict {shlex.quote(str(folder))} FILES"


def duration(seconds: float) -> str:
    """Return seconds as a person would say them."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.1f} min"


def short_name(full: str) -> str:
    """Return a name without its plugin."""
    return full.rsplit("/", 1)[-1]


def _wilson(right: int, n: int, z: float = 1.96) -> tuple[float, float]:
    """Return the 95 % interval of a share (Wilson, JASA 1927): unlike the textbook's it holds for few and for all."""
    share = right / n
    centre = (share + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    return max(0.0, centre - half), min(1.0, centre + half)
