"""Commands for finished runs, for what is kept on the disk, and for the first recipe."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tlcore import hookimpl

if TYPE_CHECKING:
    import typer

TLCORE_API = 1


@hookimpl
def tl_commands(app: typer.Typer) -> None:
    """Add ``runs``, ``reproduce``, ``compare``, ``weights``, ``cache`` and ``recipe init``."""
    from typer import Typer

    from tl_tools import cache, compare, recipe_init, reproduce, runs, weights

    app.command()(runs.runs)
    app.command()(reproduce.reproduce)
    app.command()(compare.compare)
    app.add_typer(weights.app, name="weights")
    app.add_typer(cache.app, name="cache")
    recipe = Typer()
    recipe.command()(recipe_init.init)
    app.add_typer(recipe, name="recipe")
