"""From a name in a recipe to the spec behind it, and to the distribution that answers for it."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

from tlcore.errors import PluginError, UsageError, nearest
from tlcore.plugins import Plugin, PluginHost
from tlcore.specs import ANY_MODALITY, AdapterSpec, BackboneSpec, DataSourceSpec, Spec, TaskSpec

__all__ = ["HOOK_OF_KIND", "KINDS", "Offer", "Registry"]

KINDS: dict[str, type[Spec]] = {
    "task": TaskSpec,
    "backbone": BackboneSpec,
    "adapter": AdapterSpec,
    "data": DataSourceSpec,
}
HOOK_OF_KIND = {"task": "tl_tasks", "backbone": "tl_backbones", "adapter": "tl_adapters", "data": "tl_data_sources"}
KIND_WORDS = {"task": "task", "backbone": "backbone", "adapter": "adapter", "data": "data source"}


@dataclass(frozen=True)
class Offer:
    """A spec and the plugin that offers it."""

    plugin: Plugin
    spec: Any

    @property
    def full_name(self) -> str:
        """The name that is never ambiguous: ``plugin/name``."""
        return f"{self.plugin.name}/{self.spec.name}"


class Registry:
    """Everything that the plugins of a host offer, by kind and name."""

    def __init__(self, host: PluginHost) -> None:
        self.host = host
        self._offers: dict[str, dict[str, Offer]] = {}

    def offers(self, kind: str) -> list[Offer]:
        """Return what is offered of a kind (``task``, ``backbone``, ``adapter``, ``data``), ordered by full name."""
        if kind not in self._offers:
            self._offers[kind] = self._collected(kind)
        return sorted(self._offers[kind].values(), key=lambda offer: offer.full_name)

    def find(self, kind: str, name: str) -> Offer:
        """Return the offer of this name: ``plugin/name``, or the short name while only one plugin has it.

        Raises:
            UsageError: no such name, or a short name that several plugins have.
            PluginError: the plugin that the name needs failed to load.
        """
        offers = self.offers(kind)
        matches = [offer for offer in offers if name in (offer.full_name, offer.spec.name)]
        if len(matches) == 1:
            return matches[0]
        word = KIND_WORDS[kind]
        if matches:
            names = " or ".join(f"{offer.full_name} (from {offer.plugin.distribution})" for offer in matches)
            raise UsageError(f"{word} {name!r} is offered by several plugins", hint=f"write {names}")
        self._blame_a_plugin(kind, name)
        known = [offer.spec.name for offer in offers] if "/" not in name else [offer.full_name for offer in offers]
        meant = nearest(name, known)
        hint = f"did you mean {meant!r}?" if meant else f"known: {', '.join(sorted(known)) or 'none'}"
        raise UsageError(f"there is no {word} {name!r}", hint=hint)

    def _blame_a_plugin(self, kind: str, name: str) -> None:
        word = KIND_WORDS[kind]
        plugin_name, slash, _ = name.partition("/")
        failures = self.host.failures_of(plugin_name) if slash else self.host.failures
        close = nearest(name, [offer.spec.name for offer in self.offers(kind)])
        if failures and (slash or not close):
            raise PluginError(
                f"there is no {word} {name!r} among the plugins that work",
                where="\n".join(str(failure) for failure in failures),
                hint="mend or remove that package; `tl plugins --errors` shows the whole story",
            )
        if slash and plugin_name in [plugin.name for plugin in self.host.disabled]:
            raise PluginError(f"{word} {name!r} needs the plugin {plugin_name!r}, which is switched off")

    def _collected(self, kind: str) -> dict[str, Offer]:
        found: dict[str, Offer] = {}
        for plugin, specs in self.host.collect(HOOK_OF_KIND[kind]):
            names = [getattr(spec, "name", None) for spec in specs]
            for spec in specs:
                fault = _fault(spec, KINDS[kind])
                if fault is None and names.count(spec.name) > 1:
                    fault = f"it offers {plugin.name}/{spec.name} {names.count(spec.name)} times"
                if fault is not None:
                    self.host.reject(plugin, HOOK_OF_KIND[kind], fault)
                    continue
                offer = Offer(plugin, spec)
                found[offer.full_name] = offer
        return found


def _fault(spec: Any, wanted: type[Spec]) -> str | None:
    if not isinstance(spec, wanted):
        return f"it offers {spec!r}, which is no {wanted.__name__}"
    if not isinstance(spec.name, str) or not spec.name or "/" in spec.name or spec.name != spec.name.strip():
        return f"{spec.name!r} is no name: a name is a word without a slash"
    if not dataclasses.is_dataclass(spec.options):
        return f"the options of {spec.name} are no dataclass"
    return None


def modality_of(offer: Offer) -> str:
    """Return the modality of an offer; what has none fits all."""
    return getattr(offer.spec, "modality", ANY_MODALITY)
