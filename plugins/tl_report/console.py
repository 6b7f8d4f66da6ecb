"""A run on standard error: calm, in columns, colour on a terminal only, never a jump of the cursor."""

from __future__ import annotations

import sys
from pathlib import Path

from rich.console import Console
from rich.text import Text

from tl_report.wording import (
    counted,
    duration,
    figure,
    headline,
    metric_name,
    next_command,
    scalars,
    short_name,
    visible,
)
from tlcore import EpochFinished, RunFinished, RunStarted

__all__ = ["say_epoch", "say_finished", "say_started"]

LABEL_WIDTH = 14
SHOWN_SCORES = 2
"""How many validation metrics stand in the line of an epoch beside the loss."""


def say_started(event: RunStarted) -> None:
    """Print what is run, on how many examples, and what is notable about them."""
    recipe = event.recipe
    parts = " · ".join(short_name(recipe[part]["name"]) for part in ("task", "backbone", "adapter"))
    _say(f"{recipe['name']}: {parts}", "bold")
    _say_labelled("folder", str(event.folder))
    _say_labelled("examples", ", ".join(f"{figure(count)} {split}" for split, count in event.counts.items()))
    for note in event.notes:
        _say_labelled("note", note)


def say_epoch(event: EpochFinished) -> None:
    """Print one line for an epoch; a narrow terminal gets its most telling columns."""
    record = event.record
    scores = scalars(record["validation"])
    selected = record.get("selected")
    others = [key for key in scores if key not in ("loss", selected)]
    # The score that picks the best epoch stays to the end where a terminal is narrow, so it comes last.
    chosen = [*others[: SHOWN_SCORES - (selected in scores)], *([selected] if selected in scores else [])]
    place = f"  epoch {event.epoch:>{len(str(event.epochs))}}/{event.epochs}"
    losses = [_cell("loss", record["train"].get("loss")), _cell("val loss", scores.get("loss"))]
    shown = [_cell(metric_name(key), scores[key]) for key in chosen]
    time = f"{duration(record['seconds']):>8}"
    best = "  * best" if record["best"] else ""
    cells = [place, *losses, *shown, time]
    spare = [*shown[:-1], time, *losses]
    console = _console()
    while console.is_terminal and spare and len("  ".join(cells)) + len("  * best") > console.width:
        cells.remove(spare.pop(0))
    _say("  ".join(cells) + best, "bold" if best else "")


def say_finished(event: RunFinished, report: Path | None) -> None:
    """Print the result beside the majority class, where everything lies, and the next command."""
    metrics, test = event.metrics, event.metrics["test"]
    _say(headline(metrics), "bold green")
    _say_labelled("test", ", ".join(f"{metric_name(key)} {figure(value)}" for key, value in scalars(test).items()))
    if metrics.get("best_epoch"):
        _say_labelled("best epoch", f"{metrics['best_epoch']} of {len(event.history)}")
    skipped = sum(problem.skipped for problem in event.problems)
    if skipped:
        _say_labelled("skipped", f"{counted(skipped, 'example')}, listed in {event.folder / 'problems.jsonl'}")
    if remarks := len(event.problems) - skipped:
        _say_labelled("odd", f"{counted(remarks, 'remark')} on the data, listed in {event.folder / 'problems.jsonl'}")
    _say_labelled("folder", str(event.folder))
    if report is not None:
        _say_labelled("report", str(report))
    if event.history:  # a later evaluation has none, and no model of its own
        _say_labelled("next", next_command(event.folder))


def _cell(name: str, value: float | None) -> str:
    return f"{name} {figure(value):>6}"


def _say_labelled(label: str, value: str) -> None:
    """Print a value behind its label; on a terminal a long sentence wraps under itself, a path stays in one piece."""
    console = _console()
    text = Text(_one_line(value))
    room = console.width - LABEL_WIDTH
    sentence = label in ("note", "test")
    lines = text.wrap(console, room) if console.is_terminal and sentence and room > LABEL_WIDTH else [text]
    for number, line in enumerate(lines):
        start = f"  {'' if number else label:<{LABEL_WIDTH - 2}}"
        console.print(Text.assemble((start, "dim"), line), soft_wrap=True)


def _say(line: str, style: str) -> None:
    _console().print(Text(_one_line(line), style), soft_wrap=True)


def _one_line(text: str) -> str:
    return visible(text).replace("\n", r"\n").replace("\t", r"\t")


def _console() -> Console:
    """Return standard error as it is now; it is given Text only, since a str would be read as markup."""
    return Console(file=sys.stderr)
