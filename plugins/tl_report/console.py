"""A run on standard error: calm, in columns, the same on a terminal and in a pipe."""

from __future__ import annotations

import sys
from pathlib import Path

from tl_report.wording import figure, headline, metric_name, scalars, short_name
from tlcore import EpochFinished, RunFinished, RunStarted

__all__ = ["say_epoch", "say_finished", "say_started"]


def say_started(event: RunStarted) -> None:
    """Print what is run, on how many examples, and what is notable about them."""
    recipe = event.recipe
    parts = " · ".join(short_name(recipe[part]["name"]) for part in ("task", "backbone", "adapter"))
    _say(f"{recipe['name']}: {parts}")
    _say(f"  folder    {event.folder}")
    _say("  examples  " + ", ".join(f"{figure(count)} {split}" for split, count in event.counts.items()))
    for note in event.notes:
        _say(f"  note      {note}")


def say_epoch(event: EpochFinished) -> None:
    """Print one line for an epoch."""
    record = event.record
    width = len(str(event.epochs))
    shown = scalars(record["validation"])
    wanted = [name for name in ("loss", "accuracy", "macro_f1") if name in record["validation"]]
    names = [metric_name(key) for key in wanted] or list(shown)[:3]
    values = "  ".join(f"{name} {figure(float(shown[name]))}" for name in names)
    best = "  * best so far" if record["best"] else ""
    _say(f"  epoch {event.epoch:>{width}}/{event.epochs}  train loss {record['train']['loss']:.4f}  {values}{best}")


def say_finished(event: RunFinished, report: Path | None) -> None:
    """Print the result, where it lies and the next command."""
    _say(f"{headline(event.metrics)}  (best epoch {event.metrics['best_epoch']})")
    skipped = sum(problem.skipped for problem in event.problems)
    if skipped:
        _say(f"  skipped   {figure(skipped)} examples, listed in {event.folder / 'problems.jsonl'}")
    if report is not None:
        _say(f"  report    {report}")
    _say(f"  next      tl predict {event.folder} FILES")


def _say(text: str) -> None:
    """Print a line in which nothing that a data set brought can steer the terminal."""
    line = "".join(
        character if character.isprintable() else character.encode("unicode_escape").decode() for character in text
    )
    sys.stderr.write(line + "\n")
    sys.stderr.flush()
