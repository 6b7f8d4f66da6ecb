"""``tl recipe``: check a recipe, and say which keys there are; plugins add to it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tlcore.cli.invocation import ExtensibleGroup, registry_of
from tlcore.cli.layout import columns, harmless

if TYPE_CHECKING:
    from tlcore.recipe import Choice, Recipe

__all__ = ["app"]

app = typer.Typer(
    cls=ExtensibleGroup, help="Write or check a recipe; print its schema or its reference.", no_args_is_help=True
)


@app.command()
def check(
    ctx: typer.Context,
    file: Annotated[Path, typer.Argument(help="The recipe, a YAML file.")],
    set_: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Set one key, such as train.epochs=3.")
    ] = None,
    deep: Annotated[
        bool, typer.Option("--deep", help="Read all the data and build the network too, as a run does before training.")
    ] = False,
) -> None:
    """Say whether FILE is a valid recipe whose files are there; if not, list all that is wrong with it."""
    from tlcore.errors import RecipeError
    from tlcore.recipe import key_places, read_recipe
    from tlcore.runs.preflight import Faults, faults_among, faults_of

    notes: list[str] = []
    try:
        recipe = read_recipe(file, registry_of(ctx), set_ or ())
    except RecipeError as error:
        if others := faults_among(error.readable):
            raise Faults(others, key_places(file, set_ or ()), error) from error
        raise
    if faults := faults_of(recipe, deep=deep, notes=notes):
        places = key_places(file, set_ or ())
        if len(faults) > 1:
            raise Faults(faults, places)
        refusal, place = faults[0].error, faults[0].place(places)
        refusal.where = "\n".join(line for line in (place, refusal.where) if line)
        raise refusal
    for text in dict.fromkeys(notes):
        typer.echo(harmless(f"note: {text}"), err=True)
    typer.echo(harmless(f"{file} is valid"))
    typer.echo(columns(_summary(recipe), indent="  "))


@app.command()
def schema(ctx: typer.Context) -> None:
    """Print the JSON Schema of recipes, by which editors complete and check them."""
    from tlcore.recipe import recipe_schema

    typer.echo(json.dumps(recipe_schema(registry_of(ctx)), indent=2, ensure_ascii=False))


@app.command()
def docs(ctx: typer.Context) -> None:
    """Print the reference of all keys as Markdown."""
    from tlcore.recipe import recipe_reference

    typer.echo(recipe_reference(registry_of(ctx)), nl=False)


def _summary(recipe: Recipe) -> list[tuple[str, str]]:
    train = recipe.train
    return [
        ("task", _choice(recipe.task)),
        ("data", _choice(recipe.data.source)),
        ("backbone", _choice(recipe.backbone)),
        ("adapter", _choice(recipe.adapter)),
        (
            "train",
            f"{train.epochs} epochs, batches of {train.batch_size}, precision {train.precision}, device {train.device}",
        ),
        ("optimizer", _choice(train.optimizer)),
        ("scheduler", _choice(train.scheduler)),
        ("seed", str(recipe.seed)),
    ]


def _choice(choice: Choice) -> str:
    """Return a name with the options that are not as they are by default."""
    from tlcore.recipe.keys import keys_of

    options: type = type(choice.options)
    values = [(key, getattr(choice.options, key.name)) for key in keys_of(options)]
    given = [f"{key.name}={value}" for key, value in values if value != key.default]
    return f"{choice.name} ({', '.join(given)})" if given else choice.name
