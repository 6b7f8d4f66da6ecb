"""`tl weights`: what there is on this machine, fetched ahead, checked again, brought by hand."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tl_tools.weight_files import also_kept, built, is_recipe, listing, meant
from tlcore.cli import registry_of
from tlcore.cli.layout import columns, harmless, width
from tlcore.errors import TLError, UsageError, WeightsError

if TYPE_CHECKING:
    from tlcore.plugins.registry import Offer, Registry
    from tlcore.recipe.keys import Key
    from tlcore.weights.sources import FileUse

__all__ = ["app"]

app = typer.Typer(help="List, fetch, verify and add pre-trained weights.", no_args_is_help=True)
LOCK = Path("weights.lock.json")


@app.command("list")
def list_(
    ctx: typer.Context,
    what: Annotated[
        list[str] | None,
        typer.Argument(metavar="[RECIPE|BACKBONE]...", help="Only these; every backbone unless given."),
    ] = None,
) -> None:
    """Say which weights each backbone takes, whether they are on this machine, and list the files."""
    registry = registry_of(ctx)
    every = [registry.shortest_name(offer) for offer in registry.offers("backbone")]
    rows: list[tuple[str, str, str]] = []
    used: dict[Path, FileUse] = {}
    absent: list[str] = []
    for name in what or every:
        weights, state, files, told = _looked_for(name, registry)
        rows.append((name, weights, state))
        used |= {one.path: one for one in files}
        absent += [f"\n{name}: {told}"] if told else []
    typer.echo(columns(rows, ("backbone", "weights", "where they are")))
    if what:
        typer.echo(harmless("\n".join(absent)), nl=bool(absent))
    else:
        _echo_what_each_takes(every, registry)
    typer.echo("\nfiles:")
    typer.echo(listing([*used.values(), *([] if what else also_kept(used))]) or "  none")


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

    Downloads honour HTTPS_PROXY, and SSL_CERT_FILE for a proxy with certificates of its own (REQUESTS_CA_BUNDLE is not
    read). A hub that is mirrored elsewhere is named by HF_ENDPOINT.
    """
    from tlcore.weights.lock import lock_beside, write_lock

    registry = registry_of(ctx)
    recipe = meant(what, set_ or (), registry)
    used = built(recipe)
    if not used:
        typer.echo(f"{recipe.backbone.name} needs no file of weights", err=True)
    target = lock or (lock_beside(Path(what)) if is_recipe(what) else LOCK)
    write_lock(target, used)
    typer.echo(listing(used), err=True)
    typer.echo(str(target))


@app.command()
def verify(
    what: Annotated[
        Path | None, typer.Argument(metavar="[RECIPE]", help="A recipe that was pulled, or a lock file.")
    ] = None,
    lock: Annotated[Path, typer.Option("--lock", metavar="FILE", help="A lock file that `pull` wrote.")] = LOCK,
) -> None:
    """Read every file of a lock again and say whether it is what it was."""
    from tlcore.weights.lock import lock_of, read_lock

    lock = lock_of(what) if what is not None else lock
    files = read_lock(lock)
    states = [(str(one.path), one.fault() or "ok") for one in files]
    typer.echo(columns(states))
    bad = sum(state != "ok" for _, state in states)
    if bad:
        raise WeightsError(
            f"{bad} of {len(files)} files are not what they were",
            where=str(lock),
            hint="bring them back (`tl weights add FILE`), or lock what is there now: `tl weights pull`",
        )


@app.command()
def add(
    path: Annotated[
        Path, typer.Argument(metavar="FILE", help="The file, or the folder of a checkpoint with its config.json.")
    ],
    published_as: Annotated[
        str | None,
        typer.Option("--as", metavar="NAME", help="The file's own name or URL; of a folder, its name on the hub."),
    ] = None,
    digest: Annotated[
        str | None, typer.Option("--sha256", metavar="HEX", help="Its SHA-256, where its name does not hold it.")
    ] = None,
    lock: Annotated[
        Path | None,
        typer.Option("--lock", metavar="FILE", help="The lock file, or the pulled recipe, that says what it must be."),
    ] = None,
) -> None:
    """Put what was brought by hand where runs look for it, after its digest was checked.

    A folder is found under its name on the hub from then on, such as `weights: google-bert/bert-base-german-cased`.
    """
    from tlcore.weights.local import add_file, add_repository
    from tlcore.weights.lock import lock_of, read_lock

    locked = read_lock(lock_of(lock)) if lock is not None else []
    if path.is_dir():
        if published_as is None:
            raise UsageError(
                f"{path} is a folder, and nothing says what it is called",
                hint="name it as the hub does: --as google-bert/bert-base-uncased; or write `backbone.weights: FOLDER`",
            )
        if digest is not None:
            raise UsageError("--sha256 is for one file", hint="what the files of a folder must be is said by --lock")
        target = add_repository(path, published_as, locked)
    elif path.is_file():
        target = add_file(path, published_as, digest, locked)
    else:
        raise UsageError(f"there is no file {path}", hint="give the file or the folder that you brought")
    typer.echo(str(target))


def _looked_for(what: str, registry: Registry) -> tuple[str, str, list[FileUse], str]:
    """Return the weights of a recipe or a backbone, where they are, their files, and what to do where there are none.

    Nothing is fetched.
    """
    from tlcore.weights.sources import NotHereError, without_network

    if not is_recipe(what):
        key = _weights_key(registry.find("backbone", what))
        if key is not None and key.required:
            return "", "given by you", [], ""
    weights = ""
    try:
        recipe = meant(what, (), registry)
        weights = str(getattr(recipe.backbone.options, "weights", ""))
        with without_network():
            files = built(recipe)
    except TLError as error:
        state = "not on this machine" if isinstance(error.__cause__, NotHereError) else f"refused: {error.what}"
        return weights, state, [], "\n  ".join(filter(None, (error.what, error.where, error.hint)))
    except Exception as error:  # a plugin that does not work must not hide the weights of the others
        return weights, f"cannot be built: {type(error).__name__}: {error}", [], ""
    return weights, "on this machine" if files else "no file is needed", files, ""


def _weights_key(offer: Offer) -> Key | None:
    from tlcore.recipe.choices import options_keys

    return next((one for one in options_keys("backbone", offer) if one.name == "weights"), None)


def _echo_what_each_takes(names: Sequence[str], registry: Registry) -> None:
    """Print the help of the keys, once for all the backbones that share it."""
    by_help: dict[str, list[str]] = {}
    for name in names:
        key = _weights_key(registry.find("backbone", name))
        if key is not None:
            by_help.setdefault(key.help, []).append(name)
    typer.echo("\nwhat `weights` takes:")
    for text, sharing in by_help.items():
        typer.echo(
            harmless(
                textwrap.fill(
                    f"{', '.join(sharing)}: {text}",
                    width(),
                    initial_indent="  ",
                    subsequent_indent="    ",
                    break_long_words=False,
                )
            )
        )
