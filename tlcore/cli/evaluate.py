"""`tl evaluate`: a finished run's model on labelled data."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tlcore.cli.layout import harmless
from tlcore.errors import UsageError, WeightsError
from tlcore.files.untrusted import read_object
from tlcore.notes import noted, stdout_to_stderr

if TYPE_CHECKING:
    from tlcore.plugins.registry import Registry

__all__ = ["evaluate"]


def evaluate(
    ctx: typer.Context,
    run: Annotated[Path, typer.Argument(help="The folder of a finished run.")],
    data: Annotated[
        str | None,
        typer.Option("--data", metavar="DATA", help="A folder, a table, or a section such as 'source: hub, …'."),
    ] = None,
    set_: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Set one key, such as data.label=stars.")
    ] = None,
    split: Annotated[
        str | None,
        typer.Option("--split", help="train, validation or test of the data; all of new data unless given."),
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", metavar="DIR", help="Where to write, by default RUN/evaluations/<time>.")
    ] = None,
    json_: Annotated[bool, typer.Option("--json", help="Print one JSON object on standard output.")] = False,
    device: Annotated[str, typer.Option("--device", help="auto, cpu or cuda.")] = "auto",
) -> None:
    """Score the model of RUN, on its own test split or on other labelled DATA."""
    from tlcore.cli import host_of, registry_of
    from tlcore.cli.progress import ProgressLine
    from tlcore.evaluation.scoring import evaluation_folder, labelled_examples, score
    from tlcore.files.run_folder import require_free
    from tlcore.model.load import load
    from tlcore.recipe import parse_recipe

    if split not in (None, "train", "validation", "test"):
        raise UsageError(f"--split: {split!r} is none of train, validation, test")
    if out is not None:
        require_free(out)
    registry = registry_of(ctx)
    notes: list[str] = []
    with stdout_to_stderr(), noted(notes, _say):
        model = load(run, registry=registry, device=device)
        own = data is None and not set_
        manifest = _manifest(run)
        overrides = [*([f"data={_section(data, manifest['recipe'], registry)}"] if data else []), *(set_ or ())]
        recipe = parse_recipe(
            json.dumps(manifest["recipe"]), registry, file="the run's recipe", name=run.name, overrides=overrides
        )
        examples, problems = labelled_examples(recipe.data, split or ("test" if own else None))
        notes.append(f"evaluated on {data or 'its own data'}, {split or ('test' if own else 'all of it')}")
        line = ProgressLine()
        scored = score(
            model, examples, problems, files := evaluation_folder(run, out), recipe=recipe, notes=notes,
            manifest=manifest, progress=lambda done, total: line("computing", done, total),
        )  # fmt: skip
        host = host_of(ctx)
        host.notify("tl_run_finished", scored.finished, _say)
    if json_:
        typer.echo(json.dumps({"folder": str(files.path), "metrics": scored.metrics}, allow_nan=False))
    else:
        typer.echo(str(files.path))


def _say(text: str) -> None:
    typer.echo(harmless(text), err=True)


def _section(data: str, recipe: Mapping[str, Any], registry: Registry) -> str:
    """Return the data section that a word on the command line means: of a path, the source that recognizes it.

    How the run's own data is read holds for other data too, where its source has the same options for that.
    """
    path = Path(data)
    if ":" in data and not path.exists():
        return data if data.lstrip().startswith("{") else f"{{{data}}}"
    name_it = f"--data 'source: table, path: {data if path.exists() else 'new.csv'}, label: stars'"
    if not path.exists():
        raise UsageError(f"--data: there is no {data}", hint=f"give a folder, a table, or a section such as {name_it}")
    offer = registry.source_for(path)
    if offer is None:
        raise UsageError(f"--data: no data source recognizes {data}", hint=f"name its source, such as {name_it}")
    own = recipe["data"] if isinstance(recipe.get("data"), dict) else {}
    layouts = {other.full_name: other.spec.layout_options for other in registry.offers("data")}
    shared = [key for key in offer.spec.layout_options if key in layouts.get(str(own.get("source")), ())]
    section: dict[str, Any] = {"source": registry.shortest_name(offer), "path": str(path.absolute())}
    section |= {key: own[key] for key in shared if own.get(key) is not None}
    typer.echo(f"read with `source: {section['source']}`", err=True)
    return json.dumps(section)


def _manifest(run: Path) -> dict[str, Any]:
    for folder in (run, run.parent):
        with contextlib.suppress(WeightsError):
            found = read_object(folder / "manifest.json")
            if isinstance(found.get("backbone"), dict) and isinstance(found.get("recipe"), dict):
                return found
    raise WeightsError(
        f"{run} has no manifest.json that can be read", hint="give the folder of the run, not a copy of its model alone"
    )
