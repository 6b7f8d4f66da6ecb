"""`tl recipe init`: look at the data, and write a recipe for it that runs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tlcore.cli.layout import harmless
from tlcore.contracts import SPLITS, Problem
from tlcore.errors import DataError, TLError, UsageError

if TYPE_CHECKING:
    from tl_tools.data_facts import Facts
    from tlcore.plugins.registry import Offer, Registry
    from tlcore.recipe import Recipe
    from tlcore.recipe.keys import Key

__all__ = ["init"]

FEW = 3
"""An example for each of the three splits."""


def init(
    ctx: typer.Context,
    data: Annotated[
        Path,
        typer.Option(
            "--data", metavar="PATH", help="A folder of class folders, a table, or a data set that was saved."
        ),
    ],
    out: Annotated[Path, typer.Option("--out", metavar="FILE", help="Where to write the recipe.")] = Path(
        "recipe.yaml"
    ),
    task: Annotated[
        str | None, typer.Option("--task", metavar="NAME", help="What is predicted; told by the data unless given.")
    ] = None,
    backbone: Annotated[
        str | None, typer.Option("--backbone", metavar="NAME", help="The pre-trained network (`tl list backbones`).")
    ] = None,
    weights: Annotated[
        str | None,
        typer.Option("--weights", metavar="NAME", help="Other weights than its usual ones (`tl weights list`)."),
    ] = None,
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="How the data is read, such as data.label=stars."),
    ] = None,
) -> None:
    """Look at the data at PATH and write a commented recipe that runs on it."""
    from tl_tools.data_facts import looked_at
    from tl_tools.starting_recipe import Choices, starting_recipe
    from tlcore.cli import registry_of
    from tlcore.files.atomic import publish_file
    from tlcore.recipe import parse_recipe

    if out.exists():
        raise UsageError(f"{out} exists already; nothing is overwritten", hint="name another file with --out")
    if not out.absolute().parent.is_dir():
        raise UsageError(f"there is no folder {out.parent} for the recipe", hint="make it, or name another with --out")
    registry = registry_of(ctx)
    facts = looked_at(data, _keys_of_data(set_ or ()), registry)
    if len(facts.counts) < 2:
        raise DataError(
            f"every example has the label {next(iter(facts.counts), '')!r}: there is nothing to tell apart",
            where=str(data),
            hint="add examples of another class; or name the column of the labels: `--set data.label=COLUMN`",
        )
    task, modality = _task(task, facts, registry)
    fitting = [offer for offer in registry.offers("backbone") if offer.modality == modality]
    usual = min(fitting, key=lambda offer: (not offer.spec.recommended, not offer.built_in), default=None)
    if usual is None:
        raise UsageError(f"no backbone for {modality} is installed", hint="`tl list backbones` shows what there is")
    names = [registry.shortest_name(offer) for offer in fitting]
    chosen = _asked_for(backbone, modality, names, registry) if backbone else usual
    name = backbone or registry.shortest_name(usual)
    if weights is None and any(key.name == "weights" and key.required for key in _keys("backbone", name, registry)):
        raise UsageError(f"backbone {name} has no weights of its own", hint="say which: --weights FOLDER, or a name")
    imbalance = any(key.name == "imbalance" for key in _keys("task", task, registry))
    choices = Choices(task, name, usual.spec.recommended, weights, chosen.spec.learning_rate, imbalance)
    findings = _findings(facts)
    told = _about_weights(parse_recipe(starting_recipe(out, facts, findings, choices), registry,
                                       file=str(out), name=out.stem), out, names, registry)  # fmt: skip
    publish_file(out, starting_recipe(out, facts, [*findings, told], choices))
    for line in (*findings, told, f"task {task}; next: tl run {out}"):
        typer.echo(harmless(line), err=True)
    typer.echo(str(out))


def _keys_of_data(overrides: Sequence[str]) -> Sequence[str]:
    for override in overrides:
        key, sign, _ = override.partition("=")
        if not sign or not key.startswith("data.") or key in ("data.source", "data.path"):
            raise UsageError(
                f"--set: {override!r}: only keys of data can be set here", hint="change others in the file"
            )
    return overrides


def _task(asked: str | None, facts: Facts, registry: Registry) -> tuple[str, str]:
    """Return the task's name and its modality.

    Raises:
        UsageError: there is no such task, or nothing says which one it is.
        DataError: labels that are none among many numbers.
    """
    if asked is not None:
        return asked, str(registry.find("task", asked).modality)
    if facts.no_numbers:
        raise DataError(
            f"the labels are numbers, but {len(facts.no_numbers)} of {len(facts.counts):,} are none: "
            f"{', '.join(map(repr, facts.no_numbers[:5]))}",
            where=str(facts.section["path"]),
            hint="correct these rows or take them out; or say what they are with --task",
        )
    offers = {offer.name: offer for offer in registry.offers("task")}
    modality = facts.modality(registry)
    name = f"{modality}-{facts.kind}"
    if name not in offers:
        raise UsageError(
            f"nothing says which task this is: the labels look like {facts.kind}, the inputs like "
            f"{facts.media or 'several kinds of files'}",
            hint=f"name it: --task {' | '.join(sorted(offers))}",
        )
    return name, str(offers[name].modality)


def _asked_for(backbone: str, modality: str, fitting: Sequence[str], registry: Registry) -> Offer:
    offer = registry.find("backbone", backbone)
    if offer.modality != modality:
        raise UsageError(
            f"backbone {backbone} is not for {modality}", hint=f"for {modality}: {', '.join(sorted(fitting))}"
        )
    return offer


def _keys(kind: str, name: str, registry: Registry) -> Sequence[Key]:
    from tlcore.recipe.choices import options_keys

    return options_keys(kind, registry.find(kind, name))


def _about_weights(recipe: Recipe, out: Path, fitting: Sequence[str], registry: Registry) -> str:
    """Say whether the weights are on this machine, and otherwise how to get them and whose are.

    Raises:
        TLError: they are here and cannot be used.
    """
    from tl_tools.weight_files import built
    from tlcore.weights.sources import NotHereError, without_network

    try:
        with without_network():
            built(recipe)
    except TLError as error:
        if not isinstance(error.__cause__, NotHereError):
            raise
        here = [name for name in fitting if _is_here(name, registry)]
        others = f"; here are those of {', '.join(here)} (--backbone)" if here else ""
        return f"the weights are not on this machine: `tl weights pull {out}` fetches them{others}"
    return "the weights are on this machine"


def _is_here(backbone: str, registry: Registry) -> bool:
    from tl_tools.weight_files import built, meant
    from tlcore.weights.sources import without_network

    try:
        with without_network():
            built(meant(backbone, (), registry))
    except Exception:  # another backbone is only mentioned, and one that does not work is not
        return False
    return True


def _findings(facts: Facts) -> list[str]:
    """Return what was found, in sentences."""
    counts = facts.counts
    lines = [f"{len(facts.examples):,} examples, {len(counts):,} different labels", *facts.chosen]
    if facts.kind != "regression":
        by_count = sorted(counts, key=lambda name: (counts[name], name))
        rarest, commonest = by_count[0], by_count[-1]
        lines.append(f"commonest {commonest!r} ({counts[commonest]:,}), rarest {rarest!r} ({counts[rarest]:,})")
        if counts[rarest] < FEW:
            lines.append(f"{rarest!r} has too few examples to be in the training, validation and test split")
    lines.append(_about_splits(facts))
    skipped = [problem for problem in facts.problems if problem.skipped]
    lines += [f"{len(skipped):,} cannot be used, such as {_told(skipped[0])}"] if skipped else []
    lines += [_told(problem) for problem in facts.problems if not problem.skipped][:5]
    return lines


def _about_splits(facts: Facts) -> str:
    from tlcore.data.splits import canonical_split

    splits = Counter(canonical_split(example.split) for example in facts.examples if example.split is not None)
    if not splits:
        return "no splits: 15 % each are held out by a hash"
    named = ", ".join(f"{split} {splits[split]:,}" for split in SPLITS if splits[split])
    missing = [split for split in SPLITS[1:] if not splits[split]]
    drawn = f"; for {' and '.join(missing)} 15 % are held out of the training examples" if missing else ""
    return f"splits: {named}{drawn}"


def _told(problem: Problem) -> str:
    return f"{problem.id}: {problem.reason}"
