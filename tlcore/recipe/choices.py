"""The named things that a recipe chooses among: what plugins offer, and tlcore's own optimizers and schedulers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from tlcore.errors import PluginError, UsageError, nearest
from tlcore.plugins.registry import KINDS, Offer, Registry
from tlcore.recipe.keys import Key, keys_of
from tlcore.recipe.sections import OPTIMIZERS, SCHEDULERS, DataSection

__all__ = ["OWN_CHOICES", "Chosen", "available", "choose", "chosen_by", "keys_beside", "options_keys"]

OWN_CHOICES: dict[str, dict[str, type]] = {"optimizer": OPTIMIZERS, "scheduler": SCHEDULERS}


@dataclass(frozen=True)
class Chosen:
    """What a name in a recipe stands for."""

    name: str
    options: type
    keys: tuple[Key, ...]
    spec: Any = None


def chosen_by(kind: str) -> str:
    """Return the key that holds the name."""
    return "source" if kind == "data" else "name"


def keys_beside(kind: str) -> tuple[Key, ...]:
    """Return tlcore's own keys that stand in the same section as the options."""
    return tuple(key for key in keys_of(DataSection) if key.kind is None) if kind == "data" else ()


def choose(kind: str, name: str, registry: Registry) -> Chosen:
    """Find what a name stands for.

    Raises:
        UsageError: there is no such thing, or several.
        PluginError: the plugin that it needs does not work, or its options cannot be keys of a recipe.
    """
    if kind in KINDS:
        offer = registry.find(kind, name)
        return Chosen(offer.full_name, offer.spec.options, options_keys(kind, offer), offer.spec)
    own = OWN_CHOICES[kind]
    if name not in own:
        meant = nearest(name, own)
        raise UsageError(
            f"there is no {kind} {name!r}", hint=f"did you mean {meant!r}?" if meant else f"known: {', '.join(own)}"
        )
    return Chosen(name, own[name], keys_of(own[name]))


def available(kind: str, registry: Registry) -> dict[str, Chosen]:
    """Return all that a recipe can choose of a kind, by the shortest name that is unambiguous.

    What cannot be chosen, since its options cannot be keys of a recipe, is noted as a failure of its plugin.
    """
    if kind not in KINDS:
        return {name: Chosen(name, options, keys_of(options)) for name, options in OWN_CHOICES[kind].items()}
    offers = registry.offers(kind)
    short_names = [offer.name for offer in offers]
    found = {}
    for offer in offers:
        try:
            keys = options_keys(kind, offer)
        except PluginError as error:
            registry.host.reject(offer.plugin, f"the options of {offer.full_name}", error.where or error.what, error)
            continue
        name = offer.name if short_names.count(offer.name) == 1 else offer.full_name
        found[name] = Chosen(offer.full_name, offer.spec.options, keys, offer.spec)
    return dict(sorted(found.items()))


def options_keys(kind: str, offer: Offer) -> tuple[Key, ...]:
    """Return the recipe's keys for the options of what a plugin offers.

    Raises:
        PluginError: an annotation that no recipe can be read into, or a key that is tlcore's own.
    """
    try:
        keys = keys_of(offer.spec.options)
    except (TypeError, NameError) as error:
        raise PluginError(
            f"the options of {kind} {offer.full_name} cannot be keys of a recipe",
            where=f"plugin {offer.plugin}: {error}",
            hint="tlcore.option lists the annotations that can",
        ) from error
    taken = {chosen_by(kind), *(key.name for key in keys_beside(kind))}
    for key in keys:
        if key.name in taken:
            raise PluginError(
                f"{offer.full_name} has an option {key.name!r}, which is tlcore's own key in the section {kind}",
                where=f"plugin {offer.plugin}",
                hint="the plugin must give its option another name",
            )
    return keys
