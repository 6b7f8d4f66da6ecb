"""report.html: one file that opens anywhere, without a network and without a script."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from tl_report.pictures import data_uri
from tl_report.plots import PLOTS, confusion_matrix, learning_curve, plots_of
from tl_report.wording import (
    counted,
    duration,
    figure,
    headline,
    in_plain_words,
    metric_name,
    next_command,
    scalars,
    short_name,
    shortened,
    visible,
)
from tlcore import Mistake, Problem, RunFinished, Table
from tlcore.support import publish_file

__all__ = ["rendered", "write_report"]

OPEN_ROWS = 30
"""How many classes or rows a table shows at once; longer ones can be unfolded."""
MOST_ROWS = 1000
SHOWN_PROBLEMS = 50
SHOWN_REASONS = 10
SHOWN_EPOCHS = 500
NAME_COLUMNS = 80
TEXT_CHARACTERS = 800
PICTURE_BYTES = 2_400_000
"""What all pictures of mistakes may weigh together, before base64 makes them a third heavier."""


def write_report(event: RunFinished) -> Path:
    """Write the report into the run's folder, whole or not at all, and return its path."""
    path = event.folder / "report.html"
    publish_file(path, rendered(event))
    return path


def rendered(event: RunFinished) -> str:
    """Return the page. Everything that came from data or recipe is text in it, never markup."""
    environment = Environment(
        loader=PackageLoader("tl_report", "."), autoescape=True, undefined=StrictUndefined, finalize=_shown,
        trim_blocks=True, lstrip_blocks=True,
    )  # fmt: skip
    environment.filters |= {
        "capitalised": lambda text: text[:1].upper() + text[1:],
        "counted": counted,
        "duration": duration,
        "figure": figure,
        "metric_name": metric_name,
        "name": _name,
    }
    return environment.get_template("report.html.j2").render(_content(event))


def _content(event: RunFinished) -> dict[str, Any]:
    recipe, metrics, manifest = event.recipe, event.metrics, event.manifest
    test = metrics["test"]
    return {
        "recipe": recipe,
        "parts": {part: short_name(recipe[part]["name"]) for part in ("task", "backbone", "adapter")},
        "source": short_name(recipe["data"]["source"]),
        "headline": headline(metrics),
        "plain_words": in_plain_words(test),
        "tiles": _tiles(metrics),
        "metrics": metrics,
        "best_epoch": metrics.get("best_epoch"),
        **_of_learning(event),
        **_of_classes(event),
        "plots": plots_of(event.tables, metrics),
        "tables": {name: _cut(table.rows) | {"columns": table.columns} for name, table in event.tables.items()
                   if name != "confusion" and name not in PLOTS},
        "mistakes": _mistakes(event.mistakes),
        "counts": manifest["counts"],
        "class_counts": _cut(list(manifest.get("classes", {}).items())),
        **_of_problems(event.problems),
        "notes": event.notes,
        "manifest": manifest,
        "recipe_text": _recipe_text(event.folder),
        "next_command": next_command(event.folder) if event.history else None,
    }  # fmt: skip


def _tiles(metrics: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the single numbers of the test split, the one that chose the epoch first, each with its comparisons."""
    test, validation = scalars(metrics["test"]), scalars(metrics.get("validation", {}))
    majority = metrics["test"].get("majority") or metrics["test"].get("baseline") or {}
    intervals = metrics["test"].get("intervals") or {}
    probe = metrics.get("probe", {}).get("test", {})
    key = metrics["selection"]["metric"]
    return [
        {
            "name": name,
            "value": test[name],
            "interval": intervals.get(name),
            "validation": validation.get(name),
            "majority": majority.get(name),
            "probe": probe.get(name) if name == key else None,
        }
        for name in sorted(test, key=lambda name: (name != key, name == "loss"))
    ]


def _of_learning(event: RunFinished) -> dict[str, Any]:
    """Return the curves of loss and chosen metric, and every epoch in figures."""
    history, best = event.history[:SHOWN_EPOCHS], event.metrics.get("best_epoch")
    keys = dict.fromkeys(("loss", event.metrics["selection"]["metric"]))
    return {
        "curves": [chart for key in keys if (chart := learning_curve(event.history, key, best))],
        "history": history,
        "history_columns": list(scalars(history[0]["validation"])) if history else [],
        "epochs": len(event.history),
    }


def _of_classes(event: RunFinished) -> dict[str, Any]:
    """Return the confusion matrix, the commonest mistakes, and the figures of each class."""
    table, scores = event.tables.get("confusion"), event.metrics["test"].get("per_class") or {}
    tested = {name: row["f1"] for name, row in scores.items() if row["support"]}
    many = len(scores) > OPEN_ROWS
    rows = sorted(scores.items(), key=lambda item: item[1]["f1"]) if many else list(scores.items())
    matrix = confusion_matrix(table) if table else None
    return {
        "confusion": matrix,
        "has_confusion": table is not None,
        "class_count": len(table.columns) - 1 if table else 0,
        "confusions": _worst_confusions(table, 5 if matrix else 20) if table else [],
        "per_class": _cut(rows),
        "weakest": min(tested, key=lambda name: tested[name]) if len(tested) > 1 else None,
    }


def _worst_confusions(table: Table, most: int) -> list[tuple[str, str, int, int]]:
    """Return truth, prediction, count and the number of examples of the truth for the commonest mistakes."""
    pairs = [
        (truth, guess, count, sum(counts))
        for r, (truth, *counts) in enumerate(table.rows)
        for n, (guess, count) in enumerate(zip(table.columns[1:], counts, strict=True))
        if n != r and count
    ]
    return sorted(pairs, key=lambda pair: (-pair[2], str(pair[0]), str(pair[1])))[:most]


def _cut(rows: Sequence[Any]) -> dict[str, Any]:
    """Return the rows of a table in those shown at once, those to unfold, and how many there are."""
    first = OPEN_ROWS if len(rows) <= OPEN_ROWS else OPEN_ROWS // 2
    return {"open": rows[:first], "folded": rows[first:MOST_ROWS], "count": len(rows)}


def _mistakes(mistakes: Sequence[Mistake]) -> list[dict[str, Any]]:
    share = PICTURE_BYTES // max(len(mistakes), 1)
    found = []
    for mistake in mistakes:
        shown: dict[str, Any] = {"mistake": mistake, "picture": None, "text": None}
        if isinstance(mistake.preview, bytes):
            shown["picture"] = data_uri(mistake.preview, share)
        else:
            shown["text"] = _first_characters(mistake.preview)
        shown["sure"] = _percent(mistake.columns.get("confidence"))
        shown["truth_share"] = _percent(mistake.columns.get(f"probability of {mistake.label}"))
        found.append(shown)
    return found


def _percent(value: Any) -> str | None:
    return f"{value:.0%}" if isinstance(value, float) and math.isfinite(value) else None


def _first_characters(text: str) -> str:
    if len(text) <= TEXT_CHARACTERS:
        return text
    return f"{text[:TEXT_CHARACTERS].rstrip()}… ({len(text) - TEXT_CHARACTERS:,} characters more)"


def _of_problems(problems: Sequence[Problem]) -> dict[str, Any]:
    reasons = Counter((problem.reason, problem.skipped) for problem in problems)
    return {
        "problems": problems[:SHOWN_PROBLEMS],
        "problem_count": len(problems),
        "skipped": sum(problem.skipped for problem in problems),
        "reasons": reasons.most_common(SHOWN_REASONS) if len(problems) > SHOWN_REASONS else [],
        "reason_count": len(reasons),
    }


def _recipe_text(folder: Path) -> str | None:
    path = folder / "recipe.yaml"
    return path.read_text("utf-8") if path.is_file() else None


def _shown(value: Any) -> Any:
    """Return what a place in the page shows: Markup and numbers are the page's own, a text may come from anyone."""
    return value if isinstance(value, (Markup, int, float)) else visible(str(value))


def _name(value: Any) -> Markup:
    """Return a name or an id, shortened where it is very long, then with the whole of it for who points at it."""
    text = visible(str(value))
    short = shortened(text, NAME_COLUMNS)
    return (
        Markup("{}").format(text) if short == text else Markup('<span title="{}">{}</span>').format(text[:500], short)
    )
