"""From a name in a recipe to the spec behind it, and to the distribution that answers for it."""

from __future__ import annotations

import dataclasses
import reprlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tlcore.errors import PluginError, TLError, UsageError, nearest
from tlcore.plugins.host import BUILTIN_DISTRIBUTION, LOADING, Failure, Plugin, PluginHost
from tlcore.specs import AdapterSpec, BackboneSpec, DataSourceSpec, Spec, TaskSpec

__all__ = ["HOOK_OF_KIND", "KINDS", "KIND_WORDS", "Offer", "Registry"]

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
    """One thing that a plugin offers."""

    plugin: Plugin
    spec: Any

    @property
    def name(self) -> str:
        """The short name."""
        return str(self.spec.name)

    @property
    def full_name(self) -> str:
        """The name that is never ambiguous: ``plugin/name``."""
        return f"{self.plugin.name}/{self.name}"

    @property
    def built_in(self) -> bool:
        """Whether it comes with tlcore."""
        return self.plugin.distribution == BUILTIN_DISTRIBUTION

    @property
    def summary(self) -> str:
        """One line for lists."""
        return str(self.spec.summary)

    @property
    def modality(self) -> str | None:
        """The kind of input, such as ``image``; None where the kind of spec has none."""
        return getattr(self.spec, "modality", None)


class Registry:
    """Everything that the plugins of a host offer, by kind and name."""

    def __init__(self, host: PluginHost) -> None:
        self.host = host
        self._offers: dict[str, dict[str, Offer]] = {}

    def offers(self, kind: str) -> list[Offer]:
        """Return what is offered of a kind (``task``, ``backbone``, ``adapter``, ``data``), ordered by full name."""
        if kind not in self._offers:
            self._offers[kind] = self._collect(kind)
        return sorted(self._offers[kind].values(), key=lambda offer: offer.full_name)

    def find(self, kind: str, name: str) -> Offer:
        """Return the offer of this name: ``plugin/name``, or the short name while only one plugin has it.

        Raises:
            UsageError: no such name, or a short name that several plugins have.
            PluginError: the plugin that the name needs is absent, switched off or broken.
        """
        matches = [offer for offer in self.offers(kind) if name in (offer.full_name, offer.name)]
        if len(matches) == 1:
            return matches[0]
        if matches:
            names = " or ".join(f"{offer.full_name} (from {offer.plugin.distribution})" for offer in matches)
            raise UsageError(f"{KIND_WORDS[kind]} {name!r} is offered by several plugins", hint=f"write {names}")
        for failure in self.host.failures:
            if failure.doing == HOOK_OF_KIND[kind] and name in (
                failure.offer,
                f"{failure.plugin.name}/{failure.offer}",
            ):
                raise _unusable(kind, name, [failure])
        raise self._absent_in_full(kind, name) if "/" in name else self._absent(kind, name)

    def shortest_name(self, offer: Offer) -> str:
        """Return the name of an offer without its plugin, unless another plugin has the same."""
        names = [other.name for other in self.offers(offer.spec.kind)]
        return offer.name if names.count(offer.name) == 1 else offer.full_name

    def source_for(self, path: Path) -> Offer | None:
        """Return the data source that recognizes a file or a folder; None if there is none.

        A built-in source is the last choice: those of other packages are for something more special.
        """
        able = [offer for offer in self.offers("data") if offer.spec.recognizes(path)]
        return min(able, key=lambda offer: offer.built_in, default=None)

    def _absent(self, kind: str, name: str) -> TLError:
        known = sorted({offer.name for offer in self.offers(kind)})
        meant = nearest(name, known)
        silent = self._silent(kind, self.host.failures)
        if silent and not meant:
            return _broken(kind, name, silent)
        hint = f"did you mean {meant!r}?" if meant else f"known: {', '.join(known) or 'none'}"
        not_asked = self.host.not_asked(HOOK_OF_KIND[kind])
        hint = f"{hint}; {not_asked}" if not_asked else hint
        return UsageError(f"there is no {KIND_WORDS[kind]} {name!r}", hint=hint)

    def _absent_in_full(self, kind: str, name: str) -> TLError:
        plugin_name, _, short_name = name.partition("/")
        what = f"there is no {KIND_WORDS[kind]} {name!r}"
        working = [plugin.name for plugin in self.host.plugins]
        meant_plugin = plugin_name if plugin_name in working else nearest(plugin_name, working)
        theirs = {offer.name: offer.full_name for offer in self.offers(kind) if offer.plugin.name == meant_plugin}
        meant = theirs.get(short_name) or theirs.get(nearest(short_name, theirs) or "")
        silent = self._silent(kind, self.host.failures_of(plugin_name))
        if silent and not (plugin_name in working and meant):
            return _broken(kind, name, silent)
        needs = f"{KIND_WORDS[kind]} {name!r} needs the plugin {plugin_name!r}, which is"
        if plugin_name in [plugin.name for plugin in self.host.disabled]:
            return PluginError(f"{needs} switched off", hint="look for --no-plugin and TL_PLUGINS")
        if meant:
            return UsageError(what, hint=f"did you mean {meant!r}?")
        if plugin_name in working:
            return UsageError(what, hint=f"{plugin_name} has: {', '.join(theirs.values()) or 'none'}")
        return PluginError(f"{needs} not installed", hint="install the package that brings it; see `tl plugins`")

    def _silent(self, kind: str, failures: Sequence[Failure]) -> list[Failure]:
        """Return the failures that may have kept a plugin from offering something of this kind."""
        return [failure for failure in failures if failure.doing in (*LOADING, HOOK_OF_KIND[kind])]

    def _collect(self, kind: str) -> dict[str, Offer]:
        """Return the specs of one kind by full name, without those that cannot be used."""
        offers = {}
        for plugin in self.host.plugins:
            specs = self.host.call(plugin, HOOK_OF_KIND[kind]) or []
            names = [getattr(spec, "name", None) for spec in specs]
            for spec, name in zip(specs, names, strict=True):
                fault = _fault(spec, KINDS[kind])
                if fault is None and names.count(name) > 1:
                    fault = f"it offers {plugin.name}/{name} {names.count(name)} times"
                if fault is None:
                    offer = Offer(plugin, spec)
                    offers[offer.full_name] = offer
                else:
                    self.host.reject(plugin, HOOK_OF_KIND[kind], fault, offer=str(name or ""))
        return offers


def _unusable(kind: str, name: str, failures: Sequence[Failure]) -> PluginError:
    return PluginError(
        f"{KIND_WORDS[kind]} {name!r} cannot be used", where="\n".join(map(str, failures)), hint=_mend(failures)
    )


def _mend(failures: Sequence[Failure]) -> str:
    switches = " ".join(dict.fromkeys(f"--no-plugin {failure.plugin.name}" for failure in failures))
    return (
        f"mend or remove that package, or name something else and go without it: `tl {switches} …`; "
        "`tl plugins --errors` shows the traceback"
    )


def _broken(kind: str, name: str, failures: Sequence[Failure]) -> PluginError:
    return PluginError(
        f"there is no {KIND_WORDS[kind]} {name!r} among the plugins that work",
        where="\n".join(str(failure) for failure in failures),
        hint=_mend(failures),
    )


def _fault(spec: Any, wanted: type[Spec]) -> str | None:
    """Return what is wrong with a record that a plugin offers."""
    if not isinstance(spec, wanted):
        return f"it offers {reprlib.repr(spec)}, which is not a {wanted.__name__}"
    is_word = isinstance(spec.name, str) and spec.name.isprintable() and spec.name.split() == [spec.name]
    if not is_word or "/" in spec.name:
        return f"{spec.name!r} is not a name: a name is a word without a slash"
    if not isinstance(spec.summary, str) or not spec.summary.strip():
        return f"{spec.name} has no summary"
    for part in ("build", "smoke", "samples", "recognizes"):
        if not callable(getattr(spec, part, callable)):
            return f"{part} of {spec.name} is not a function"
    for part in ("modality", "media", "recommended"):
        if not isinstance(getattr(spec, part, ""), str):
            return f"the {part} of {spec.name} is not a string"
    if not isinstance(getattr(spec, "learning_rate", 0.0), (int, float)):
        return f"the learning_rate of {spec.name} is not a number"
    if not isinstance(getattr(spec, "layout_options", ()), tuple):
        return f"the layout_options of {spec.name} are not a tuple"
    if not isinstance(spec.options, type) or not dataclasses.is_dataclass(spec.options):
        return f"the options of {spec.name} are not a dataclass"
    return None
