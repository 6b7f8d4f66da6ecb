"""`tl reproduce`: a finished run once more, and whether it gives the same numbers."""

from __future__ import annotations

import contextlib
import json
import sys
from pathlib import Path
from typing import Annotated

import typer

from tlcore.cli.layout import harmless

__all__ = ["reproduce"]


def reproduce(
    ctx: typer.Context,
    folder: Annotated[Path, typer.Argument(metavar="RUN", help="The folder of a finished run.")],
    out: Annotated[
        Path | None, typer.Option("--out", metavar="DIR", help="The new run's folder, by default beside the first one.")
    ] = None,
    json_: Annotated[bool, typer.Option("--json", help="Print one JSON object on standard output.")] = False,
) -> None:
    """Run a finished RUN again and compare history, metrics, predictions and weights; exit code 6 if they differ."""
    from tl_tools.reproduction import reproduce as repeat
    from tlcore.cli import registry_of
    from tlcore.cli.progress import ProgressLine
    from tlcore.errors import NumericError

    def tell(text: str) -> None:
        typer.echo(harmless(text), err=True)

    with contextlib.redirect_stdout(sys.stderr):
        found = repeat(folder, out=out, registry=registry_of(ctx), progress=ProgressLine(), warn=tell)
    if json_:
        run = str(found.result.folder)
        typer.echo(json.dumps({"run": run, "different": found.different, "surroundings": found.surroundings}))
    if found.different:
        unlike = [f"it ran with another {line}" for line in found.surroundings]
        raise NumericError(
            f"{found.result.folder} differs from {folder}",
            where="\n".join([*found.different, *unlike]),
            hint=None if unlike else "nothing around it changed; please report this, if it was on a processor",
        )
    if not json_:
        typer.echo(f"the same to the last bit: {found.result.folder}")
