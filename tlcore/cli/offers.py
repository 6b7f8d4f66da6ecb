"""``tl plugins``, ``tl list`` and ``tl show``: what is installed, what it offers, and the options of each thing."""

from __future__ import annotations

import json
import textwrap
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tlcore.cli.invocation import commands_by_plugin, host_of, registry_of
from tlcore.cli.layout import columns, harmless, width
from tlcore.errors import UsageError, nearest

if TYPE_CHECKING:
    from tlcore.plugins.host import Plugin, PluginHost
    from tlcore.plugins.registry import Offer

__all__ = ["list_", "plugins", "show"]

KIND_OF_WORD = {
    "task": "task",
    "tasks": "task",
    "backbone": "backbone",
    "backbones": "backbone",
    "adapter": "adapter",
    "adapters": "adapter",
    "data": "data",
}
HEADINGS = {"task": "tasks", "backbone": "backbones", "adapter": "adapters", "data": "data"}

Json = Annotated[bool, typer.Option("--json", help="Print JSON on standard output.")]


def plugins(
    ctx: typer.Context,
    json_: Json = False,
    errors: Annotated[
        bool,
        typer.Option("--errors", help="Show the traceback of each that failed."),
    ] = False,
) -> None:
    """List the plugins, what they offer and which fail."""
    from tlcore.plugins.registry import HOOK_OF_KIND, Registry

    host = host_of(ctx, mention_failures=False)
    registry, commands = Registry(host), commands_by_plugin(ctx)
    offered = {kind: registry.offers(kind) for kind in HOOK_OF_KIND}
    by_plugin = {
        plugin: {
            HEADINGS[kind]: [offer.name for offer in offers if offer.plugin == plugin]
            for kind, offers in offered.items()
        }
        | {"commands": list(commands[plugin])}
        for plugin in host.plugins
    }
    if json_:
        typer.echo(json.dumps(_plugins_as_json(host, by_plugin), indent=2, ensure_ascii=False))
        return
    rows = []
    for plugin, own in by_plugin.items():
        offers = "; ".join(f"{heading}: {', '.join(names)}" for heading, names in own.items() if names)
        rows.append((plugin.name, plugin.distribution, plugin.version, offers or "hears of runs"))
    rows += [(one.name, one.distribution, one.version, "switched off") for one in host.disabled]
    typer.echo(columns(rows, ("plugin", "distribution", "version", "offers")) if rows else "no plugin is installed")
    for failure in host.failures:
        typer.echo(harmless(f"\n{failure}"))
        if errors and failure.traceback:
            typer.echo(harmless(textwrap.indent(failure.traceback.rstrip(), "  ")))
    if host.failures:
        typer.echo("\nTo go without a plugin: tl --no-plugin NAME ..." + ("" if errors else "; why it fails: --errors"))


def list_(
    ctx: typer.Context,
    kind: Annotated[str | None, typer.Argument(metavar="[tasks|backbones|adapters|data]")] = None,
    json_: Json = False,
) -> None:
    """List the tasks, backbones, adapters and data sources."""
    from tlcore.plugins.registry import KINDS

    kinds = list(KINDS) if kind is None else [_kind(kind)]
    registry = registry_of(ctx)
    offers = {one: registry.offers(one) for one in kinds}
    if json_:
        listed = [_offer_as_json(one, offer) for one in kinds for offer in offers[one]]
        typer.echo(json.dumps(listed, indent=2, ensure_ascii=False))
        return
    parts = []
    for one in kinds:
        rows = [(registry.shortest_name(offer), _modality(offer), offer.summary) for offer in offers[one]]
        body = columns(rows, indent="  ") if rows else "  none"
        parts.append(body if kind is not None else f"{HEADINGS[one]}\n{body}")
    typer.echo("\n\n".join(parts))


def show(
    ctx: typer.Context,
    kind: Annotated[str, typer.Argument(help="task, backbone, adapter or data.")],
    name: Annotated[str, typer.Argument(help="A name that `tl list` gives.")],
    json_: Json = False,
) -> None:
    """Describe one of them: who offers it, its options."""
    from tlcore.recipe.choices import chosen_by, keys_beside, options_keys
    from tlcore.recipe.keys import type_in_words, with_nested
    from tlcore.recipe.reference import default_in_words
    from tlcore.recipe.schema import schema_of_keys

    word = _kind(kind)
    registry = registry_of(ctx)
    offer = registry.find(word, name)
    keys = options_keys(word, offer)
    if json_:
        described = _offer_as_json(word, offer) | {"options": schema_of_keys(keys)}
        typer.echo(json.dumps(described, indent=2, ensure_ascii=False))
        return
    facts = [("name", offer.full_name), ("from", f"{offer.plugin.distribution} {offer.plugin.version}")]
    facts += [("input", _modality(offer))] if _modality(offer) else []
    typer.echo(harmless("\n".join(textwrap.wrap(offer.summary, width()))))
    typer.echo(columns(facts, indent="  "))
    rows = [(key.name, type_in_words(key), default_in_words(key), key.help) for key in with_nested(keys)]
    section = f"{word}: {{{chosen_by(word)}: {registry.shortest_name(offer)}, ...}}"
    typer.echo(harmless(f"\nOptions, beside the name in a recipe ({section}):" if rows else "\nIt has no options."))
    if rows:
        typer.echo(columns(rows, ("key", "type", "default", "meaning"), indent="  "))
    own = [(key.name, type_in_words(key), default_in_words(key), key.help) for key in keys_beside(word)]
    if own:
        typer.echo("\nBeside every source:\n" + columns(own, indent="  "))


def _kind(word: str) -> str:
    if word in KIND_OF_WORD:
        return KIND_OF_WORD[word]
    meant = nearest(word, KIND_OF_WORD)
    hint = f"did you mean {meant!r}?" if meant else f"kinds: {', '.join(HEADINGS.values())}"
    raise UsageError(f"there is no kind {word!r}", hint=hint)


def _modality(offer: Offer) -> str:
    """Return what kind of input an offer is for, in a word; nothing for what has none."""
    modality = str(offer.modality or "")
    return "any" if modality == "*" else modality


def _offer_as_json(kind: str, offer: Offer) -> dict[str, Any]:
    return {
        "kind": kind,
        "name": offer.name,
        "full_name": offer.full_name,
        "summary": offer.summary,
        "modality": offer.modality,
        "plugin": offer.plugin.name,
        "distribution": offer.plugin.distribution,
        "version": offer.plugin.version,
    }


def _plugins_as_json(host: PluginHost, offers: dict[Plugin, dict[str, list[str]]]) -> dict[str, Any]:
    failures = [
        {**vars(one.plugin), "doing": one.doing, "reason": one.reason, "traceback": one.traceback}
        for one in host.failures
    ]
    return {
        "plugins": [{**vars(plugin), "offers": own} for plugin, own in offers.items()],
        "failures": failures,
        "disabled": [dict(vars(one)) for one in host.disabled],
    }
