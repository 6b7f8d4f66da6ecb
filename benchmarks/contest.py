"""Contenders take turns, several times; a table of medians and ratios tells how they did."""

from __future__ import annotations

import dataclasses
import statistics
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from benchmarks.machine import Cost, ProcessError, described

__all__ = ["Contender", "Settings", "Taken", "held", "names", "report", "table"]


@dataclass(frozen=True)
class Settings:
    """What the command line says of a comparison."""

    examples: int
    threads: int = 1
    repeats: int = 3
    measured_epochs: int = 1
    """How many of their epochs the rivals really run; the time of more is that of one, multiplied."""
    network: str = "bert-base"
    """Which BERT the comparisons of texts use."""
    only: Sequence[str] = ()
    """The names of those that take part; all where there is none."""


@dataclass(frozen=True)
class Taken:
    """What one turn of one contender cost, and how good its result was where that was looked at."""

    cost: Cost
    accuracy: float | None = None
    macro_f1: float | None = None
    tested: int = 0
    """How many examples the scores are of."""
    details: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Contender:
    """Somebody with a name who takes a turn; ``note`` says how its figures are to be read."""

    name: str
    turn: Callable[[], Taken]
    note: str = ""


def held(contenders: Sequence[Contender], repeats: int) -> dict[str, list[Taken]]:
    """Return what each contender's turns cost; they take turns, so that what slows the machine slows all alike.

    Whoever fails is told of and left out from then on.
    """
    taken: dict[str, list[Taken]] = {}
    out: set[str] = set()
    for repeat in range(repeats):
        for contender in contenders:
            if contender.name in out:
                continue
            try:
                found = contender.turn()
            except ProcessError as error:
                out.add(contender.name)
                taken.pop(contender.name, None)
                print(f"{contender.name} failed and is left out: {error}", file=sys.stderr, flush=True)
                continue
            taken.setdefault(contender.name, []).append(found)
            cost = f"{found.cost.cpu:.1f} s of processor time, {found.cost.wall:.1f} s"
            print(f"  turn {repeat + 1} of {repeats}: {contender.name}: {cost}", file=sys.stderr, flush=True)
    return taken


def report(
    title: str, contenders: Sequence[Contender], settings: Settings, *, reference: str, per: int
) -> dict[str, Any]:
    """Let them compete, print the table and return the figures.

    ``reference`` names the contender that all others are divided by; ``per`` is how many examples a time is for.
    """
    wanted = settings.only or [contender.name for contender in contenders]
    if strange := set(wanted) - {contender.name for contender in contenders}:
        raise SystemExit(f"--only: there is no {', '.join(sorted(strange))}; there are: {names(contenders)}")
    contenders = [contender for contender in contenders if contender.name in wanted]
    taken = held(contenders, settings.repeats)
    rows = [_row(contender, taken[contender.name], per) for contender in contenders if contender.name in taken]
    base = next((row for row in rows if row["name"] == reference), None)
    for row in rows:
        for kind in ("cpu", "wall"):
            row[f"{kind}_ratio"] = row[f"{kind}_seconds"] / base[f"{kind}_seconds"] if base else None
    print(described())
    print(f"{title}; {settings.threads} threads; medians of {settings.repeats} turns, taken in rotation")
    columns = [
        ("", "<", lambda row: row["name"]),
        ("CPU s", ">", lambda row: f"{row['cpu_seconds']:.2f}"),
        ("wall s", ">", lambda row: f"{row['wall_seconds']:.2f}"),
        ("CPU ms/example", ">", lambda row: f"{row['cpu_ms_per_example']:.2f}"),
        ("CPU ratio", ">", lambda row: _optional(row["cpu_ratio"], ".2f")),
        ("wall ratio", ">", lambda row: _optional(row["wall_ratio"], ".2f")),
        ("accuracy", ">", lambda row: _optional(row["accuracy"], ".3f")),
        ("95 %", "<", lambda row: "-".join(f"{end:.2f}" for end in row["accuracy_interval"])),
        ("macro F1", ">", lambda row: _optional(row["macro_f1"], ".3f")),
        ("", "<", lambda row: row["note"]),
    ]
    table([[head for head, _, _ in columns], *([show(row) for _, _, show in columns] for row in rows)],
          [side for _, side, _ in columns])  # fmt: skip
    if base:
        print(f"  ratios: how many times as long as {reference}")
    return {"machine": described(), "settings": dataclasses.asdict(settings), "rows": rows}


def names(contenders: Sequence[Contender]) -> str:
    """Return the names of all who may take part, as `--only` takes them."""
    return "; ".join(contender.name for contender in contenders)


def table(rows: Sequence[Sequence[str]], sides: Sequence[str]) -> None:
    """Print rows of cells in columns; ``sides`` says for each column whether it stands left (<) or right (>)."""
    widths = [max(len(row[n]) for row in rows) for n in range(len(sides))]
    for row in rows:
        cells = (f"{cell:{side}{width}}" for cell, side, width in zip(row, sides, widths, strict=True))
        print(("  " + "  ".join(cells)).rstrip())


def _row(contender: Contender, taken: Sequence[Taken], per: int) -> dict[str, Any]:
    cpu, wall = ([getattr(one.cost, kind) for one in taken] for kind in ("cpu", "wall"))
    return {
        "name": contender.name,
        "note": contender.note,
        "cpu_seconds": statistics.median(cpu),
        "wall_seconds": statistics.median(wall),
        "cpu_ms_per_example": 1000 * statistics.median(cpu) / per,
        "accuracy": _median([one.accuracy for one in taken]),
        "macro_f1": _median([one.macro_f1 for one in taken]),
        "accuracy_interval": _interval(_median([one.accuracy for one in taken]), taken[0].tested),
        "turns": [dataclasses.asdict(one) for one in taken],
    }


def _interval(accuracy: float | None, tested: int) -> list[float]:
    """Return the ends of the 95 % interval of an accuracy, nothing where there is none (Wilson, JASA 22, 1927)."""
    if accuracy is None or not tested:
        return []
    from scipy.stats import binomtest

    ends = binomtest(round(accuracy * tested), tested).proportion_ci(method="wilson")
    return [float(ends.low), float(ends.high)]


def _median(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return statistics.median(known) if known else None


def _optional(value: float | None, shape: str) -> str:
    return "" if value is None else f"{value:{shape}}"
