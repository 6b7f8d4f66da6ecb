"""`tl compare`: whether the difference between runs is real."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tlcore.cli.layout import columns

if TYPE_CHECKING:
    from tl_tools.comparison import Comparison

__all__ = ["compare"]


def compare(
    runs: Annotated[
        list[Path], typer.Argument(help="Folders of finished runs; the others are compared with the first.")
    ],
    shared: Annotated[
        bool, typer.Option("--shared", help="Where the test splits differ, compare on what all of them have.")
    ] = False,
    report: Annotated[
        Path | None, typer.Option("--report", metavar="FILE", help="Write the comparison as HTML.")
    ] = None,
    json_: Annotated[bool, typer.Option("--json", help="Print one JSON object on standard output.")] = False,
) -> None:
    """Compare runs on the same test examples: each difference with its interval, and whether it is real."""
    from tl_tools.comparison import compared, recipe_differences, verdict
    from tl_tools.finished_runs import StoredRun, stored_runs

    found: list[StoredRun] = []
    for folder in runs:
        found.append(next(iter(stored_runs(folder)), StoredRun(folder, fault="there is no run in it")))
    comparison = compared(found, shared=shared)
    changed = recipe_differences(found)
    if report is not None:
        from tl_tools.comparison_page import write_comparison

        write_comparison(report, comparison, changed)
        typer.echo(f"written: {report}", err=True)
    if json_:
        typer.echo(json.dumps(_record(comparison, changed), allow_nan=False))
        return
    rows = [(str(comparison.first), f"{comparison.values[comparison.first]:.4f}", "", "", "the first")]
    rows += [
        (str(one.run), f"{one.value:.4f}", f"{one.value - one.first:+.4f}", f"{one.low:+.4f} to {one.high:+.4f}",
         verdict(one, comparison))
        for one in comparison.differences
    ]  # fmt: skip
    typer.echo(f"{comparison.metric} on the same {comparison.count:,} test examples")
    typer.echo(columns(rows, ("run", comparison.metric, "difference", "95 % interval", "verdict")))
    if changed:
        typer.echo("\nwhat was changed between them")
        typer.echo(columns([(key, *map(str, values)) for key, values in changed.items()], indent="  "))


def _record(comparison: Comparison, changed: dict[str, list[Any]]) -> dict[str, Any]:
    return {
        "metric": comparison.metric,
        "examples": comparison.count,
        "values": {str(folder): value for folder, value in comparison.values.items()},
        "differences": [
            {
                "run": str(one.run),
                "first": str(comparison.first),
                "difference": one.value - one.first,
                "interval": [one.low, one.high],
                "p": one.p,
                "real": one.real,
                "only_first_right": one.only_first,
                "only_this_right": one.only_this,
            }
            for one in comparison.differences
        ],
        "changed": changed,
    }
