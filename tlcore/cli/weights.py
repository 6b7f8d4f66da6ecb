"""`tl weights`: what there is on this machine, fetched ahead, checked again, brought by hand."""

from __future__ import annotations

import contextlib
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tlcore.cli.invocation import registry_of
from tlcore.cli.layout import columns, harmless
from tlcore.errors import UsageError, WeightsError

if TYPE_CHECKING:
    from tlcore.recipe import Recipe
    from tlcore.registry import Registry

__all__ = ["app"]

app = typer.Typer(help="List, fetch, verify and add pre-trained weights.", no_args_is_help=True)
DIGEST_IN_NAME = re.compile(r"-([0-9a-f]{8,64})\.\w+$")
LOCK = Path("weights.lock.json")


@app.command("list")
def list_(ctx: typer.Context) -> None:
    """Say which weights each backbone takes, and which files are on this machine."""
    from tlcore.recipe.choices import options_keys
    from tlcore.weights import cache_folder

    registry = registry_of(ctx)
    rows = []
    for offer in registry.offers("backbone"):
        key = next((one for one in options_keys("backbone", offer) if one.name == "weights"), None)
        if key is not None:
            rows.append((offer.spec.name, "given by you" if key.required else str(key.default), key.help))
    typer.echo(columns(rows, ("backbone", "weights", "what it takes")))
    folder = cache_folder() / "weights"
    found = sorted(path for path in folder.glob("*") if path.is_file()) if folder.is_dir() else []
    typer.echo(harmless(f"\nfetched or added, in {folder}: {len(found) or 'nothing'}"))
    typer.echo(columns([(path.name, f"{path.stat().st_size:,} bytes") for path in found], indent="  "))
    repositories = _of_the_hub()
    typer.echo(f"fetched from the hub: {len(repositories) or 'nothing'}")
    typer.echo(columns(repositories, indent="  "))


@app.command()
def pull(
    ctx: typer.Context,
    what: Annotated[str, typer.Argument(metavar="RECIPE", help="A recipe's file, or the name of a backbone.")],
    set_: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Set one key, such as backbone.weights=….")
    ] = None,
    lock: Annotated[
        Path | None, typer.Option("--lock", metavar="FILE", help="The lock file, by default beside the recipe.")
    ] = None,
) -> None:
    """Fetch the weights that RECIPE needs, and lock them: a run then opens no connection for them.

    Downloads honour HTTPS_PROXY, and SSL_CERT_FILE for a proxy with certificates of its own.
    """
    from tlcore.randomness import seeded
    from tlcore.recipe import read_recipe
    from tlcore.weight_lock import lock_beside, write_lock
    from tlcore.weights import recorded_files

    registry = registry_of(ctx)
    path = Path(what)
    is_recipe = path.suffix.lower() in (".yaml", ".yml")
    recipe = read_recipe(path, registry, set_ or ()) if is_recipe else _of_backbone(what, set_ or (), registry)
    with contextlib.redirect_stdout(sys.stderr), recorded_files() as used, seeded(recipe.seed, "backbone"):
        recipe.backbone.spec.build(recipe.backbone.options, None)
    if not used:
        typer.echo(f"{recipe.backbone.name} needs no file of weights", err=True)
    target = lock or (lock_beside(path) if is_recipe else LOCK)
    locked = write_lock(target, used)
    typer.echo(
        columns([(one.path.name, f"{one.size:,} bytes", one.sha256[:16], one.origin) for one in locked]), err=True
    )
    typer.echo(str(target))


@app.command()
def verify(
    lock: Annotated[Path, typer.Option("--lock", metavar="FILE", help="A lock file that `pull` wrote.")] = LOCK,
) -> None:
    """Read every file of a lock again and say whether it is what it was."""
    from tlcore.weight_lock import read_lock

    files = read_lock(lock)
    states = [(str(one.path), one.fault() or "ok") for one in files]
    typer.echo(columns(states))
    bad = sum(state != "ok" for _, state in states)
    if bad:
        raise WeightsError(
            f"{bad} of {len(files)} files are not what they were",
            where=str(lock),
            hint="bring them back, or lock what is there now: `tl weights pull`",
        )


@app.command()
def add(
    file: Annotated[Path, typer.Argument(help="The file, under the name that it was published with.")],
    digest: Annotated[
        str | None, typer.Option("--sha256", metavar="HEX", help="Its SHA-256, where its name does not hold it.")
    ] = None,
) -> None:
    """Put a file that was brought by hand where runs look for it, after its digest was checked."""
    from tlcore.publishing import publish_file
    from tlcore.weights import cache_folder, file_digest

    if not file.is_file():
        raise UsageError(f"there is no file {file}", hint="for a checkpoint's folder write `backbone.weights: FOLDER`")
    in_name = DIGEST_IN_NAME.search(file.name)
    wanted = (digest or (in_name[1] if in_name else "")).lower()
    found = file_digest(file)
    if not wanted:
        raise UsageError(
            f"nothing says what {file.name} should be",
            where=f"its SHA-256 is {found}",
            hint="compare it with what the publisher says, then add it with --sha256; or name the file in "
            "`backbone.weights` as it is",
        )
    if not found.startswith(wanted):
        raise WeightsError(
            f"{file.name} is not the file that was meant: SHA-256 {found[:16]}…, expected {wanted[:16]}…",
            where=str(file),
            hint="fetch it again from a place that you trust",
        )
    target = cache_folder() / "weights" / file.name
    target.parent.mkdir(parents=True, exist_ok=True)
    publish_file(target, file.read_bytes())
    typer.echo(str(target))


def _of_backbone(name: str, overrides: list[str] | tuple[str, ...], registry: Registry) -> Recipe:
    """Return a recipe around a backbone alone; its other parts are whatever fits."""
    from tlcore.recipe import parse_recipe

    modality = registry.find("backbone", name).spec.modality
    task = next((o.full_name for o in registry.offers("task") if o.spec.modality == modality), None)
    if task is None:
        raise UsageError(f"no task for {modality} is installed", hint="give a recipe instead of a backbone's name")
    text = (
        f"task: {task}\ndata: {{source: data/table, path: unused.csv}}\nbackbone: {name}\n"
        "adapter: adapters/feature-extraction\n"
    )
    return parse_recipe(text, registry, file=name, name="weights", overrides=overrides)


def _of_the_hub() -> list[tuple[str, str]]:
    """Return the repositories of models in the hub's cache, with their size."""
    from huggingface_hub import scan_cache_dir
    from huggingface_hub.errors import CacheNotFound

    try:
        found = scan_cache_dir().repos
    except CacheNotFound:
        return []
    return sorted((one.repo_id, f"{one.size_on_disk:,} bytes") for one in found if one.repo_type == "model")
