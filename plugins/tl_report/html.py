"""report.html: one file that opens anywhere, without a network and without a script."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Any

from jinja2 import Environment, StrictUndefined
from markupsafe import Markup

from tl_report.charts import Curve, confusion_picture, curves_picture, shortened, worst_confusions
from tl_report.pictures import data_uri
from tl_report.plots import plots_of
from tl_report.wording import (
    counted,
    duration,
    figure,
    headline,
    in_plain_words,
    memory,
    metric_name,
    next_command,
    scalars,
    short_name,
    visible,
)
from tlcore import Mistake, Problem, RunFinished
from tlcore.publishing import publish_file

__all__ = ["rendered", "write_report"]

DRAWN = ("confusion", "reliability", "roc", "precision_recall", "scatter", "lr_find")
"""Tables that are shown as pictures."""
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
        autoescape=True, undefined=StrictUndefined, finalize=_shown, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters |= {
        "capitalised": lambda text: text[:1].upper() + text[1:],
        "counted": counted,
        "duration": duration,
        "figure": figure,
        "metric_name": metric_name,
        "name": _name,
    }
    files = resources.files("tl_report")
    template = environment.from_string((files / "report.html.j2").read_text("utf-8"))
    return template.render(style=Markup((files / "report.css").read_text("utf-8")), **_content(event))  # noqa: S704


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
                   if name not in DRAWN},
        "mistakes": _mistakes(event.mistakes),
        "counts": manifest["counts"],
        "class_counts": _cut(list(manifest.get("classes", {}).items())),
        **_of_problems(event.problems),
        "notes": event.notes,
        "manifest": manifest,
        "stages": _stages(manifest["backbone"]),
        "memory": memory(manifest["peak_memory_bytes"]) if manifest["peak_memory_bytes"] else None,
        "phases": _phases(manifest["seconds"]),
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
    key = event.metrics["selection"]["metric"]
    losses = [
        _curve("training", "second", event.history, "train", "loss"),
        _curve("validation", "first", event.history, "validation", "loss"),
    ]
    charts = [("loss", losses)]
    if key != "loss":
        charts.append((metric_name(key), [_curve("validation", "first", event.history, "validation", key)]))
    drawn = [(title, [curve for curve in curves if curve.points]) for title, curves in charts]
    return {
        "curves": [(title, kept, curves_picture(f"{title} by epoch", kept, best)) for title, kept in drawn if kept],
        "history": history,
        "history_columns": list(scalars(history[0]["validation"])) if history else [],
        "epochs": len(event.history),
    }


def _curve(name: str, style: str, history: Sequence[Mapping[str, Any]], split: str, key: str) -> Curve:
    """Return one value of each epoch, those left out that cannot be drawn."""
    values = [(record["epoch"], record.get(split, {}).get(key)) for record in history]
    return Curve(name, [(e, v) for e, v in values if isinstance(v, (int, float)) and math.isfinite(v)], style)


def _of_classes(event: RunFinished) -> dict[str, Any]:
    """Return the confusion matrix, the commonest mistakes, and the figures of each class."""
    table, scores = event.tables.get("confusion"), event.metrics["test"].get("per_class") or {}
    tested = {name: row["f1"] for name, row in scores.items() if row["support"]}
    many = len(scores) > OPEN_ROWS
    rows = sorted(scores.items(), key=lambda item: item[1]["f1"]) if many else list(scores.items())
    picture = confusion_picture(table) if table else None
    return {
        "confusion": picture,
        "has_confusion": table is not None,
        "class_count": len(table.columns) - 1 if table else 0,
        "confusions": worst_confusions(table, 5 if picture else 20) if table else [],
        "per_class": _cut(rows),
        "weakest": min(tested, key=lambda name: tested[name]) if len(tested) > 1 else None,
    }


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


def _stages(about: Mapping[str, Any]) -> dict[str, list[str]]:
    line = about["freeze_line"]
    return {"frozen": list(about["stages"][:line]), "trained": [*about["stages"][line:], "head"]}


def _phases(seconds: Mapping[str, float]) -> list[dict[str, Any]]:
    whole = sum(seconds.values()) or 1.0
    return [{"name": name, "seconds": spent, "share": 100 * spent / whole} for name, spent in seconds.items()]


def _recipe_text(folder: Path) -> str | None:
    path = folder / "recipe.yaml"
    return path.read_text("utf-8") if path.is_file() else None


def _shown(value: Any) -> Any:
    """Return what a place in the page shows: Markup is the page's own, every other text may come from anyone."""
    return value if isinstance(value, Markup) else visible(str(value))


def _name(value: Any) -> Markup:
    """Return a name or an id, shortened where it is very long, then with the whole of it for who points at it."""
    text = visible(str(value))
    short = shortened(text, NAME_COLUMNS)
    return (
        Markup("{}").format(text) if short == text else Markup('<span title="{}">{}</span>').format(text[:500], short)
    )
