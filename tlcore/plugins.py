"""From entry points to a plugin host: loaded one at a time, each failure kept, none of them fatal.

A plugin is a module behind an entry point of the group ``tlcore``. Importing it is guarded against everything but
a user's interruption, since one broken package must not take the tool with it (``sys.exit`` at import included).
"""

from __future__ import annotations

import contextlib
import inspect
import itertools
import os
import sys
import textwrap
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points
from types import ModuleType
from typing import Any

import pluggy

from tlcore import hookspecs
from tlcore.errors import Interrupted, PluginError, nearest
from tlcore.redaction import redacted

__all__ = ["BUILTIN_DISTRIBUTION", "ENTRY_POINT_GROUP", "LOADING", "Failure", "Plugin", "PluginHost"]

ENTRY_POINT_GROUP = "tlcore"
BUILTIN_DISTRIBUTION = "tlcore"
LOADING = ("loading", "import", "registration")
"""What a plugin goes through before it can be asked for anything; ``Failure.doing`` is one of these, or a hook."""
HOOK_NAMES = tuple(name for name in hookspecs.__all__ if name.startswith("tl_"))


@dataclass(frozen=True, order=True)
class Plugin:
    """A plugin as its distribution declares it."""

    name: str
    module: str
    distribution: str
    version: str

    def __str__(self) -> str:
        return f"{self.name} ({f'{self.distribution} {self.version}'.strip()})"


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
        self._manager = pluggy.PluginManager("tlcore")
        self._manager.add_hookspecs(hookspecs)
        self._muted: set[tuple[Plugin, str]] = set()
        self._strict = environ.get("TL_STRICT_PLUGINS", "").lower() not in ("", "0", "false", "no")
        points = entry_points(group=ENTRY_POINT_GROUP) if declared is None else declared
        found = {_declaration(point): point for point in points}
        out, wanted = set(disabled), environ.get("TL_PLUGINS")
        self.disabled = sorted(plugin for plugin in found if plugin.name in out or not _allowed(plugin, wanted))
        for plugin in self._without_clashes(sorted(set(found) - set(self.disabled))):
            self._load(plugin, found[plugin])

    def collect(self, hook: str) -> Iterator[tuple[Plugin, list[Any]]]:
        """Call a hook that offers, plugin by plugin; one that raises is noted as a failure and left out."""
        for plugin in self.plugins:
            offers: list[Any] | None = None
            with self._guarded(plugin, hook):
                offers = [record for records in self._caller(hook, plugin)() for record in records]
            if offers is not None:
                yield plugin, offers

    def notify(self, hook: str, event: Any, warn: Callable[[str], None]) -> None:
        """Tell every plugin of an event; a hook that raises is muted from then on, with a warning: the run goes on."""
        for plugin in self.plugins:
            if (plugin, hook) in self._muted:
                continue
            before = len(self.failures)
            with self._guarded(plugin, hook):
                self._caller(hook, plugin)(event=event)
            for failure in self.failures[before:]:
                self._muted.add((plugin, hook))
                warn(f"{failure}; the run goes on without it")

    def failures_of(self, name: str) -> list[Failure]:
        """Return what went wrong with the plugin of this name."""
        return [failure for failure in self.failures if failure.plugin.name == name]

    def reject(self, plugin: Plugin, doing: str, reason: str, error: BaseException | None = None) -> Failure:
        """Note that a plugin, or something that it offers, cannot be used.

        Raises:
            PluginError: where ``TL_STRICT_PLUGINS`` is set.
        """
        details = "".join(traceback.format_exception(error)) if error is not None else ""
        failure = Failure(plugin, doing, redacted(reason), redacted(details))
        self.failures.append(failure)
        if self._strict:
            hint = f"TL_STRICT_PLUGINS is set; to go without: --no-plugin {plugin.name}"
            raise PluginError(str(failure), hint=hint) from error
        return failure

    def _without_clashes(self, found: list[Plugin]) -> list[Plugin]:
        kept = []
        for name, group in itertools.groupby(found, key=lambda plugin: plugin.name):
            same = list(group)
            builtin = [plugin for plugin in same if plugin.distribution == BUILTIN_DISTRIBUTION]
            winner = same[0] if len(same) == 1 else builtin[0] if builtin else None
            kept += [winner] if winner else []
            for plugin in same:
                if plugin != winner:
                    others = " and ".join(str(other) for other in same if other != plugin)
                    self.reject(plugin, "loading", f"the name {name!r} is also claimed by {others}")
        return kept

    def _load(self, plugin: Plugin, entry_point: EntryPoint) -> None:
        fault = None
        with self._guarded(plugin, "import"):
            module = entry_point.load()
            fault = _fault(plugin, module)
            if fault is None:
                self._manager.register(module, plugin.name)
                self.plugins.append(plugin)
        if fault is not None:
            self.reject(plugin, "registration", fault)

    def _caller(self, hook: str, plugin: Plugin) -> Callable[..., list[Any]]:
        module = self._manager.get_plugin(plugin.name)
        others = [other for other in self._manager.get_plugins() if other is not module]
        return self._manager.subset_hook_caller(hook, others)

    @contextlib.contextmanager
    def _guarded(self, plugin: Plugin, doing: str) -> Iterator[None]:
        """Run a plugin's code: what it raises becomes its failure, what it prints goes to standard error.

        Standard output may carry JSON, so nothing else may be printed there.
        """
        try:
            with contextlib.redirect_stdout(sys.stderr):
                yield
        except (KeyboardInterrupt, Interrupted):
            raise
        except BaseException as error:  # SystemExit among them
            reason = f"{type(error).__name__}: {error}".removesuffix(": ")
            self.reject(plugin, doing, textwrap.shorten(reason, width=400), error)


def _declaration(point: EntryPoint) -> Plugin:
    name, version = (point.dist.name, point.dist.version) if point.dist else ("no distribution", "")
    return Plugin(point.name, point.value, name, version)


def _allowed(plugin: Plugin, wanted: str | None) -> bool:
    if wanted is None or plugin.distribution == BUILTIN_DISTRIBUTION:
        return True
    return plugin.name in [name.strip() for name in wanted.split(",")]


def _fault(plugin: Plugin, module: Any) -> str | None:
    """Return what is wrong with a plugin's module: pluggy passes over a misspelt hook and a missing decorator."""
    if not isinstance(module, ModuleType):
        return f"{plugin.module} is no module: an entry point names the module that implements the hooks"
    if "/" in plugin.name:
        return f"{plugin.name!r} is no name for a plugin: a slash stands between plugin and name"
    version = getattr(module, "TLCORE_API", hookspecs.API_VERSION)
    if version != hookspecs.API_VERSION:
        return f"it is written for plugin API {version}; this tlcore has API {hookspecs.API_VERSION}"
    found = 0
    for name in dir(module):
        value = getattr(module, name, None)
        marks = getattr(value, "tlcore_impl", None) if inspect.isroutine(value) else None
        # Only functions of the plugin's own: a module may import names that begin alike.
        own = inspect.isroutine(value) and getattr(value, "__module__", None) == module.__name__
        hook = (marks.get("specname") if marks else None) or name
        if marks and hook not in HOOK_NAMES:
            meant = nearest(hook, HOOK_NAMES)
            return f"{hook} is no hook of tlcore" + (f"; did you mean {meant}?" if meant else "")
        if not marks and own and name.startswith("tl_") and nearest(name, HOOK_NAMES):
            return f"{name} is not marked with @tlcore.hookimpl, so it would never be called"
        found += bool(marks)
    return None if found else "it implements no hook: mark its functions with @tlcore.hookimpl"
