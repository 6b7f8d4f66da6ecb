"""`tl run`: from a recipe to a model with proof of how good it is."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from tlcore.cli.layout import harmless
from tlcore.notes import stdout_to_stderr

__all__ = ["run"]


def run(
    ctx: typer.Context,
    recipe: Annotated[Path | None, typer.Argument(help="The recipe, a YAML file.")] = None,
    set_: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Set one key, such as train.epochs=3.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", metavar="DIR", help="The run's folder, by default runs/<name>/<time>.")
    ] = None,
    resume: Annotated[
        Path | None, typer.Option("--resume", metavar="RUN", help="Go on with an unfinished run, by its folder.")
    ] = None,
    allow_changed: Annotated[
        bool, typer.Option("--allow-changed", help="Go on also where the recipe, data, weights or libraries changed.")
    ] = False,
    processes: Annotated[
        int, typer.Option("--processes", metavar="N", help="Share the run among so many processes of this machine.")
    ] = 1,
    fit_memory: Annotated[
        bool, typer.Option("--fit-memory", help="Take a step in smaller parts where memory ends; it stays the same.")
    ] = False,
    json_: Annotated[bool, typer.Option("--json", help="Print one JSON object on standard output.")] = False,
) -> None:
    """Train and evaluate what RECIPE says; leave a model, its metrics and a report in a folder."""
    from tlcore.distributed.launcher import launched
    from tlcore.distributed.worker import leads, member
    from tlcore.runs.signals import Stopping

    _require_one(recipe, resume, out)
    if processes != 1:
        raise typer.Exit(launched(processes))
    from tlcore.cli import registry_of
    from tlcore.cli.progress import ProgressLine
    from tlcore.runs import run as running

    def tell(text: str) -> None:
        typer.echo(harmless(text), err=True)

    stopping = Stopping(tell)
    overrides = [*(set_ or ()), *(["train.fit_memory=true"] if fit_memory else [])]
    progress, registry = ProgressLine(), registry_of(ctx)
    given: dict[str, Any] = {"overrides": overrides, "registry": registry, "progress": progress, "warn": tell}
    # Nothing but the JSON object may reach standard output, whatever a library prints.
    with member(), stdout_to_stderr(), stopping.heard():
        if recipe is not None:
            result = running.run(recipe, out=out, stopping=stopping, **given)
        elif resume is not None:
            result = running.resume(resume, allow_changed=allow_changed, stopping=stopping, **given)
    if not leads():
        return
    if json_:
        summary = {
            "run": str(result.folder),
            "metrics": result.metrics,
            "seconds": result.seconds,
            "features": result.features,
        }
        typer.echo(json.dumps(summary, allow_nan=False))
    else:
        typer.echo(str(result.folder))


def _require_one(recipe: Path | None, resume: Path | None, out: Path | None) -> None:
    from tlcore.errors import UsageError

    if recipe is None and resume is None:
        raise UsageError("give a recipe to run, or --resume and the folder of an unfinished run")
    if recipe is not None and resume is not None:
        raise UsageError(
            "a recipe and --resume: a run is begun, or gone on with by the recipe in its folder",
            hint="leave one of them out; `--resume RUN --set KEY=VALUE --allow-changed` goes on with another setting",
        )
    if resume is not None and out is not None:
        raise UsageError("--out: an unfinished run goes on in its own folder", hint="leave --out away")
