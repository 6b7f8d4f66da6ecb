"""report.html: one file that opens anywhere, without a network and without a script."""

from __future__ import annotations

import base64
import os
import tempfile
from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import Any

from tl_report.charts import Curve, confusion_picture, curves_picture, worst_confusions
from tl_report.wording import duration, figure, headline, memory, metric_name, scalars, short_name
from tlcore import Mistake, RunFinished

__all__ = ["rendered", "write_report"]

SHOWN_PROBLEMS = 50
PICTURE_BYTES = 3_000_000
"""What all pictures of mistakes may weigh together; those beyond are named, not shown."""


def write_report(event: RunFinished) -> Path:
    """Write the report into the run's folder, whole or not at all, and return its path."""
    path = event.folder / "report.html"
    handle, partial = tempfile.mkstemp(dir=event.folder, prefix=".report.")
    try:
        with os.fdopen(handle, "w", encoding="utf-8", errors="backslashreplace") as file:
            file.write(rendered(event))
            file.flush()
            os.fsync(file.fileno())
        os.chmod(partial, 0o644)
        os.replace(partial, path)
    except BaseException:
        Path(partial).unlink(missing_ok=True)
        raise
    return path


def rendered(event: RunFinished) -> str:
    """Return the page. Everything that came from data or recipe is text in it, never markup."""
    from jinja2 import Environment, StrictUndefined

    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters |= {"figure": figure, "duration": duration, "metric_name": metric_name}
    files = resources.files("tl_report")
    template = environment.from_string((files / "report.html.j2").read_text("utf-8"))
    return template.render(style=(files / "report.css").read_text("utf-8"), **_content(event))


def _content(event: RunFinished) -> dict[str, Any]:
    test, manifest = event.metrics["test"], event.manifest
    confusion = event.tables.get("confusion")
    return {
        "recipe": event.recipe,
        "names": {part: short_name(event.recipe[part]["name"]) for part in ("task", "backbone", "adapter")},
        "source": short_name(event.recipe["data"]["source"]),
        "headline": headline(event.metrics),
        "tiles": scalars(test),
        "validation": scalars(event.metrics["validation"]),
        "majority": test.get("majority"),
        "metrics": event.metrics,
        "per_class": test.get("per_class"),
        "weakest": _weakest(test.get("per_class")),
        "curves": _curves(event),
        "confusion": confusion_picture(confusion) if confusion else None,
        "confusions": worst_confusions(confusion) if confusion else [],
        "tables": {name: table for name, table in event.tables.items() if name != "confusion"},
        "mistakes": _mistakes(event.mistakes),
        "manifest": manifest,
        "memory": memory(manifest["peak_memory_bytes"]),
        "total_seconds": sum(manifest["seconds"].values()) or 1.0,
        "problems": event.problems[:SHOWN_PROBLEMS],
        "problem_count": len(event.problems),
        "notes": event.notes,
        "recipe_text": _recipe_text(event.folder),
        "folder": str(event.folder),
    }


def _weakest(per_class: Mapping[str, Mapping[str, Any]] | None) -> str | None:
    held = {name: row["f1"] for name, row in (per_class or {}).items() if row["support"]}
    return min(held, key=lambda name: held[name]) if len(held) > 1 else None


def _curves(event: RunFinished) -> list[Any]:
    if not event.history:
        return []
    best, key = event.metrics["best_epoch"], event.metrics["selection"]["metric"]
    losses = [Curve("training loss", [record["train"]["loss"] for record in event.history], "second")]
    if "loss" in event.history[0]["validation"]:
        losses.append(Curve("validation loss", [r["validation"]["loss"] for r in event.history], "first"))
    pictures = [("Loss", losses, curves_picture("Loss by epoch", losses, best))]
    if key != "loss":
        chosen = [Curve(f"validation {metric_name(key)}", [r["validation"][key] for r in event.history], "first")]
        name = metric_name(key)
        pictures.append((f"{name[:1].upper()}{name[1:]}", chosen, curves_picture(f"{name} by epoch", chosen, best)))
    return pictures


def _mistakes(mistakes: Any) -> list[dict[str, Any]]:
    found, weight = [], 0
    for mistake in mistakes:
        picture = None
        if isinstance(mistake.preview, bytes) and weight + len(mistake.preview) <= PICTURE_BYTES:
            weight += len(mistake.preview)
            picture = "data:image/png;base64," + base64.b64encode(mistake.preview).decode()
        found.append({"mistake": mistake, "picture": picture, "text": _text(mistake), "sure": _sure(mistake)})
    return found


def _text(mistake: Mistake) -> str | None:
    return mistake.preview if isinstance(mistake.preview, str) else None


def _sure(mistake: Mistake) -> str | None:
    value = mistake.columns.get("confidence")
    return f"{value:.0%}" if isinstance(value, float) else None


def _recipe_text(folder: Path) -> str:
    path = folder / "recipe.yaml"
    return path.read_text("utf-8") if path.is_file() else ""
