"""The same words and figures for the console and the page."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

__all__ = ["METRIC_NAMES", "duration", "figure", "headline", "memory", "metric_name", "scalars", "short_name"]

METRIC_NAMES = {
    "n": "examples",
    "loss": "log-loss",
    "macro_f1": "macro F1",
    "ece": "calibration error",
    "mae": "mean absolute error",
    "rmse": "root mean squared error",
    "r2": "R²",
}
HIDDEN = ("n",)


def metric_name(key: str) -> str:
    """Return a metric's name for people."""
    return METRIC_NAMES.get(key, key.replace("_", " "))


def figure(value: Any) -> str:
    """Return a number as it is printed everywhere: whole numbers whole, others to three places."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return str(value)
    if isinstance(value, int):
        return f"{value:,}"
    return f"{value:.3f}" if 0.001 <= abs(value) < 1000 or value == 0 else f"{value:.3g}"


def scalars(metrics: Mapping[str, Any]) -> dict[str, Any]:
    """Return the metrics that are single numbers, by their names for people."""
    return {
        metric_name(key): value
        for key, value in metrics.items()
        if isinstance(value, (int, float)) and not isinstance(value, bool) and key not in HIDDEN
    }


def headline(metrics: Mapping[str, Any]) -> str:
    """Return the result in one sentence, beside what always guessing the commonest class would give."""
    test, key = metrics["test"], metrics["selection"]["metric"]
    text = f"{metric_name(key)} {figure(test[key])} on {figure(test['n'])} test examples"
    majority = test.get("majority")
    if isinstance(majority, Mapping) and key in majority:
        text += f"; always guessing “{majority['class']}” gives {figure(majority[key])}"
    return text


def duration(seconds: float) -> str:
    """Return seconds as a person would say them."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.1f} min"


def memory(size: int) -> str:
    """Return bytes in gigabytes."""
    return f"{size / 1e9:.2f} GB"


def short_name(full: str) -> str:
    """Return a name without its plugin."""
    return full.rsplit("/", 1)[-1]
