"""The command ``tl``. Modules of commands are light: what is heavy is imported inside the commands.

Further commands come from plugins, by the hook ``tl_commands``.
"""

from __future__ import annotations

import io
import os
import sys
from typing import Annotated

import typer

import tlcore
from tlcore.cli import evaluate, offers, predict, recipe, run
from tlcore.cli.guard import GuardedGroup
from tlcore.cli.invocation import host_of, registry_of

__all__ = ["app", "host_of", "main", "registry_of"]

app = typer.Typer(
    name="tl",
    cls=GuardedGroup,
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)
app.command()(run.run)
app.command()(predict.predict)
app.command()(evaluate.evaluate)
app.add_typer(recipe.app, name="recipe")
app.command("plugins")(offers.plugins)
app.command("list")(offers.list_)
app.command("show")(offers.show)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"tlcore {tlcore.__version__}")
        raise typer.Exit


@app.callback()
def _global_options(
    no_plugin: Annotated[  # eager, since --help is, which lists the commands of plugins
        list[str] | None,
        typer.Option("--no-plugin", metavar="NAME", help="Go without this plugin; repeatable.", is_eager=True),
    ] = None,
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error too.")] = False,
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Transfer learning from one recipe: `tl run recipe.yaml`."""


def main() -> None:
    """Run ``tl``."""
    # Whoever closes a stream does not want to hear, but many libraries count on it.
    sys.stdout = sys.stdout or open(os.devnull, "w")  # noqa: SIM115 - until the process ends
    sys.stderr = sys.stderr or open(os.devnull, "w")  # noqa: SIM115
    for stream in (sys.stdout, sys.stderr):
        # A terminal that cannot show a character gets an escape, not a crash.
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    app(prog_name="tl")
