"""From entry points to a plugin host: loaded one at a time, each failure kept, none of them fatal.

A plugin is a module behind an entry point of the group ``tlcore``. Importing it is guarded against everything but
KeyboardInterrupt, since one broken package must not take the tool with it (``sys.exit`` at import is no exception).
"""

from __future__ import annotations

import contextlib
import os
import sys
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points
from typing import Any

import pluggy

from tlcore import hookspecs
from tlcore.errors import PluginError, nearest

__all__ = ["BUILTIN_DISTRIBUTION", "ENTRY_POINT_GROUP", "Failure", "Plugin", "PluginHost"]

ENTRY_POINT_GROUP = "tlcore"
BUILTIN_DISTRIBUTION = "tlcore"
HOOK_NAMES = tuple(name for name in hookspecs.__all__ if name.startswith("tl_"))


@dataclass(frozen=True)
class Plugin:
    """A plugin as its distribution declares it."""

    name: str
    module: str
    distribution: str
    version: str

    def __str__(self) -> str:
        return f"{self.name} ({self.distribution} {self.version})"


@dataclass(frozen=True)
class Failure:
    """Why a plugin, or one of its hooks, cannot be used."""

    plugin: Plugin
    doing: str
    reason: str
    traceback: str = ""

    def __str__(self) -> str:
        return f"plugin {self.plugin} failed at {self.doing}: {self.reason}"


class PluginHost:
    """The plugins of one process; an object that callers make and hand on, never a global.

    ``declared`` replaces the installed entry points (for tests). ``disabled`` names plugins that stay out. From
    ``environ``: ``TL_PLUGINS`` (set, even to nothing: besides the built-ins only these plugins, comma-separated) and
    ``TL_STRICT_PLUGINS`` (a true value: any failure raises PluginError).
    """

    def __init__(
        self,
        declared: Iterable[EntryPoint] | None = None,
        *,
        disabled: Iterable[str] = (),
        environ: Mapping[str, str] = os.environ,
    ) -> None:
        self.plugins: list[Plugin] = []
        self.failures: list[Failure] = []
        self.disabled: list[Plugin] = []
        self._manager = pluggy.PluginManager("tlcore")
        self._manager.add_hookspecs(hookspecs)
        self._strict = environ.get("TL_STRICT_PLUGINS", "").lower() not in ("", "0", "false", "no")
        declared = entry_points(group=ENTRY_POINT_GROUP) if declared is None else declared
        out = set(disabled)
        for plugin, entry_point in self._without_clashes([(_declaration(point), point) for point in declared]):
            if plugin.name in out or not _allowed(plugin, environ.get("TL_PLUGINS")):
                self.disabled.append(plugin)
            else:
                self._load(plugin, entry_point)

    def collect(self, hook: str) -> Iterator[tuple[Plugin, list[Any]]]:
        """Call a hook that offers, plugin by plugin; one that raises is noted as a failure and left out."""
        for plugin in list(self.plugins):
            with self._guarded(plugin, hook):
                offers = [record for records in self._caller(hook, plugin)() for record in records]
                yield plugin, offers

    def notify(self, hook: str, event: Any, warn: Callable[[str], None]) -> None:
        """Tell every plugin of an event; one that raises is muted with a warning, the run goes on."""
        for plugin in list(self.plugins):
            before = len(self.failures)
            with self._guarded(plugin, hook):
                self._caller(hook, plugin)(event=event)
            for failure in self.failures[before:]:
                warn(f"{failure}; the run goes on without it")

    def failures_of(self, name: str) -> list[Failure]:
        """Return what went wrong with the plugin of this name."""
        return [failure for failure in self.failures if failure.plugin.name == name]

    def reject(self, plugin: Plugin, doing: str, reason: str, error: BaseException | None = None) -> None:
        """Note that a plugin, or something that it offers, cannot be used.

        Raises:
            PluginError: where ``TL_STRICT_PLUGINS`` is set.
        """
        details = "".join(traceback.format_exception(error)) if error is not None else ""
        failure = Failure(plugin, doing, reason, details)
        self.failures.append(failure)
        if self._strict:
            raise PluginError(str(failure), hint=f"TL_STRICT_PLUGINS is set; to go without: --no-plugin {plugin.name}")

    def _without_clashes(self, found: list[tuple[Plugin, EntryPoint]]) -> list[tuple[Plugin, EntryPoint]]:
        by_name: dict[str, list[tuple[Plugin, EntryPoint]]] = {}
        for plugin, point in sorted(found, key=lambda pair: (pair[0].name, pair[0].distribution, pair[0].module)):
            same = by_name.setdefault(plugin.name, [])
            # A distribution found twice on sys.path (an editable install beside a built one) is one distribution.
            if plugin not in [other for other, _ in same]:
                same.append((plugin, point))
        kept = []
        for same in by_name.values():
            builtin = [pair for pair in same if pair[0].distribution == BUILTIN_DISTRIBUTION]
            winner = same[0] if len(same) == 1 else builtin[0] if builtin else None
            kept += [winner] if winner else []
            for plugin, _ in same:
                if winner is None or plugin != winner[0]:
                    others = " and ".join(str(other) for other, _ in same if other != plugin)
                    self.reject(plugin, "loading", f"its name is also claimed by {others}")
        return kept

    def _load(self, plugin: Plugin, entry_point: EntryPoint) -> None:
        # What a plugin prints while it is imported must not reach a standard output that carries JSON.
        with self._guarded(plugin, "import"), contextlib.redirect_stdout(sys.stderr):
            module = entry_point.load()
            fault = _fault(module)
            if fault is not None:
                self.reject(plugin, "registration", fault)
                return
            # pluggy would raise in the middle of a registration and leave half of it behind, so a trial goes first.
            trial = pluggy.PluginManager("tlcore")
            trial.add_hookspecs(hookspecs)
            trial.register(module, plugin.name)
            self._manager.register(module, plugin.name)
            self.plugins.append(plugin)

    def _caller(self, hook: str, plugin: Plugin) -> Callable[..., list[Any]]:
        module = self._manager.get_plugin(plugin.name)
        others = [other for other in self._manager.get_plugins() if other is not module]
        return self._manager.subset_hook_caller(hook, others)

    @contextlib.contextmanager
    def _guarded(self, plugin: Plugin, doing: str) -> Iterator[None]:
        try:
            yield
        except (KeyboardInterrupt, GeneratorExit, PluginError):
            raise
        except BaseException as error:  # SystemExit among them
            message = str(error) or type(error).__name__
            self.reject(plugin, doing, f"{type(error).__name__}: {message}".splitlines()[0], error)


def _declaration(point: EntryPoint) -> Plugin:
    dist = point.dist
    return Plugin(point.name, point.value, dist.name if dist else "unknown", dist.version if dist else "unknown")


def _allowed(plugin: Plugin, wanted: str | None) -> bool:
    if wanted is None or plugin.distribution == BUILTIN_DISTRIBUTION:
        return True
    return plugin.name in [name.strip() for name in wanted.split(",")]


def _fault(module: Any) -> str | None:
    """Return what is wrong with a plugin's module: pluggy passes over a misspelt hook and a missing decorator."""
    version = getattr(module, "TLCORE_API", hookspecs.API_VERSION)
    if version != hookspecs.API_VERSION:
        return f"it is written for plugin API {version}; this tlcore has API {hookspecs.API_VERSION}"
    found = 0
    for name in dir(module):
        value = getattr(module, name, None)
        marked = getattr(value, "tlcore_impl", None) is not None and callable(value)
        # Only functions of the plugin's own: a module may import names that begin alike.
        own = callable(value) and getattr(value, "__module__", None) == getattr(module, "__name__", None)
        if marked and name not in HOOK_NAMES:
            meant = nearest(name, HOOK_NAMES)
            return f"{name} is no hook of tlcore" + (f"; did you mean {meant}?" if meant else "")
        if not marked and own and name.startswith("tl_") and nearest(name, HOOK_NAMES):
            return f"{name} is not marked with @tlcore.hookimpl, so it would never be called"
        found += marked
    return None if found else "it implements no hook: mark its functions with @tlcore.hookimpl"
