"""`tl runs`: what there is on the disk, as a table or as JSON."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tlcore.cli.layout import columns, json_line

if TYPE_CHECKING:
    from tl_tools.finished_runs import StoredRun

__all__ = ["runs"]


def runs(
    folder: Annotated[Path, typer.Argument(help="Where to look, a few folders deep.")] = Path("runs"),
    sort: Annotated[
        str, typer.Option("--sort", metavar="KEY", help="A metric, a column or a recipe's key; -KEY for falling.")
    ] = "started",
    filter_: Annotated[
        list[str] | None,
        typer.Option("--filter", metavar="CONDITION", help="Only runs with, such as backbone=vgg16 or macro_f1>0.9."),
    ] = None,
    json_: Annotated[bool, typer.Option("--json", help="Print one JSON array on standard output.")] = False,
) -> None:
    """List the runs in FOLDER with what they were made of and how good they are."""
    from tl_tools.finished_runs import matches, sorted_by, stored_runs

    found = [run for run in stored_runs(folder) if all(matches(run, condition) for condition in filter_ or ())]
    found = sorted_by(found, sort) if found else found
    if json_:
        typer.echo(json_line([_record(run) for run in found]))
    elif not found:
        typer.echo(f"no run in {folder}" + (" fulfils that" if filter_ else ""), err=True)
    else:
        heads = ("recipe", "started", "backbone", "adapter", "score", "seconds", "folder")
        typer.echo(columns([_row(run) for run in found], heads))


def _record(run: StoredRun) -> dict[str, Any]:
    names = ("folder", "name", "status", "started", "task", "data", "backbone", "adapter", "seconds")
    found = run.metrics.get("test")
    test = {key: one for key, one in found.items() if isinstance(one, (int, float))} if isinstance(found, dict) else {}
    return {name: run.value(name) for name in names} | {"selection": run.chief, "test": test}


def _row(run: StoredRun) -> tuple[str, ...]:
    score = run.value("score")
    told = f"{run.chief} {score:.3f}" if isinstance(score, (int, float)) else (run.fault or "").partition(":")[0]
    seconds = run.value("seconds")
    return (
        str(run.value("name") or ""),
        str(run.value("started") or "")[:16].replace("T", " "),
        *(str(run.value(part) or "") for part in ("backbone", "adapter")),
        told,
        f"{seconds:.0f}" if isinstance(seconds, (int, float)) else "",
        str(run.folder),
    )
