"""`tl run`: from a recipe to a model with proof of how good it is."""

from __future__ import annotations

import contextlib
import json
import sys
from pathlib import Path
from typing import Annotated

import typer

from tlcore.cli.layout import harmless

__all__ = ["run"]


def run(
    ctx: typer.Context,
    recipe: Annotated[Path, typer.Argument(help="The recipe, a YAML file.")],
    set_: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Set one key, such as train.epochs=3.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", metavar="DIR", help="The run's folder, by default runs/<name>/<time>.")
    ] = None,
    processes: Annotated[
        int, typer.Option("--processes", metavar="N", help="Share the run among so many processes of this machine.")
    ] = 1,
    json_: Annotated[bool, typer.Option("--json", help="Print one JSON object on standard output.")] = False,
) -> None:
    """Train and evaluate what RECIPE says; leave a model, its metrics and a report in a folder."""
    from tlcore.cli.launching import launched, leads

    if processes != 1:
        raise typer.Exit(launched(processes))
    from tlcore.cli import registry_of
    from tlcore.cli.progress import ProgressLine
    from tlcore.running import run as run_recipe

    # Nothing but the JSON object may reach standard output, whatever a library prints.
    with contextlib.redirect_stdout(sys.stderr):
        result = run_recipe(
            recipe, overrides=set_ or (), out=out, registry=registry_of(ctx), progress=ProgressLine(),
            warn=lambda text: typer.echo(harmless(text), err=True),
        )  # fmt: skip
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
