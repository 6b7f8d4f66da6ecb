"""From entry points to a plugin host: loaded one at a time, each failure kept, none of them fatal.

A plugin is a module behind an entry point of the group ``tlcore``. The built-ins are imported at once; of any other
the index tells what it offers, and it is imported when something of it is used or when it hears of a run. An import is
guarded against everything but a user's interruption, since one broken package must not take the tool with it
(``sys.exit`` at import included).
"""

from __future__ import annotations

import contextlib
import inspect
import itertools
import math
import os
import sys
import textwrap
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from importlib.metadata import Distribution, EntryPoint, distributions, entry_points
from types import ModuleType
from typing import Any

import pluggy

from tlcore import hookspecs
from tlcore.errors import Interrupted, PluginError, UsageError, nearest
from tlcore.notes import note
from tlcore.plugin_index import TIME_LIMIT, Description, Plugin, PluginIndex
from tlcore.redaction import redacted

__all__ = [
    "BUILTIN_DISTRIBUTION",
    "ENTRY_POINT_GROUP",
    "LOADING",
    "Failure",
    "Plugin",
    "PluginHost",
    "installed_plugins",
]

ENTRY_POINT_GROUP = "tlcore"
BUILTIN_DISTRIBUTION = "tlcore"
LOADING = ("loading", "import", "registration")
"""What a plugin goes through before it can be asked for anything; ``Failure.doing`` is one of these, or a hook."""
HOOK_NAMES = tuple(name for name in hookspecs.__all__ if name.startswith("tl_"))


@dataclass(frozen=True)
class Failure:
    """Why a plugin, or one of its hooks, cannot be used; ``offer`` names what is refused, if it is one thing."""

    plugin: Plugin
    doing: str
    reason: str
    traceback: str = ""
    offer: str = ""

    def __str__(self) -> str:
        return f"plugin {self.plugin} failed at {self.doing}: {self.reason}"


class PluginHost:
    """The plugins of one process; an object that callers make and hand on, never a global.

    ``declared`` replaces the installed entry points (for tests); those are imported at once unless an ``index`` is
    given. ``disabled`` names plugins that stay out. ``again`` looks anew at those that the index has as failed. From
    ``environ``: ``TL_PLUGINS`` (set, even to nothing: besides the built-ins only these plugins, comma-separated),
    ``TL_STRICT_PLUGINS`` (a true value: any failure raises PluginError) and ``TL_PLUGIN_TIMEOUT`` (the seconds that the
    first look at a plugin may take).
    """

    def __init__(
        self,
        declared: Iterable[EntryPoint] | None = None,
        *,
        disabled: Iterable[str] = (),
        environ: Mapping[str, str] = os.environ,
        index: PluginIndex | None = None,
        again: bool = False,
    ) -> None:
        self.plugins: list[Plugin] = []
        self.failures: list[Failure] = []
        self._manager = pluggy.PluginManager("tlcore")
        self._manager.add_hookspecs(hookspecs)
        self._muted: set[tuple[Plugin, str]] = set()
        self._described: dict[Plugin, Description] = {}
        self._strict = environ.get("TL_STRICT_PLUGINS", "").lower() not in ("", "0", "false", "no")
        points = _installed() if declared is None else declared
        self._points = {_declaration(point): point for point in points}
        out, wanted = set(disabled), environ.get("TL_PLUGINS")
        self.disabled = sorted(plugin for plugin in self._points if plugin.name in out or not _allowed(plugin, wanted))
        for plugin in self._without_clashes(sorted(set(self._points) - set(self.disabled))):
            if plugin.distribution != BUILTIN_DISTRIBUTION and (index or declared is None):
                index = index or PluginIndex(limit=_time_limit(environ))
                self._describe(plugin, index.describe(plugin, again=again))
            else:
                self._load(plugin)

    def description(self, plugin: Plugin) -> Description | None:
        """Return what the index says of a plugin; None where the plugin itself was imported and is to be asked."""
        return self._described.get(plugin)

    def is_loaded(self, plugin: Plugin) -> bool:
        """Import a plugin that only the index told of until now, and say whether it works."""
        if plugin in self.plugins and not self._manager.has_plugin(plugin.name):
            self._load(plugin)
        return self._manager.has_plugin(plugin.name)

    def asked(self, plugin: Plugin, hook: str) -> list[Any] | None:
        """Return what a plugin offers by a hook; if that raises, a failure is noted and the answer is None."""
        with self._guarded(plugin, hook):
            return [record for records in self._caller(hook, plugin)() for record in records]
        return None

    def hooks_of(self, plugin: Plugin) -> list[str]:
        """Return the names of the hooks that a plugin implements."""
        known = self.description(plugin)
        if known is not None:
            return list(known.hooks)
        callers = self._manager.get_hookcallers(self._manager.get_plugin(plugin.name)) or []
        return sorted(caller.name for caller in callers)

    def notify(self, hook: str, event: Any, warn: Callable[[str], None]) -> None:
        """Tell every plugin of an event; a hook that raises is muted from then on, with a warning: the run goes on."""
        for plugin in list(self.plugins):
            if (plugin, hook) in self._muted or hook not in self.hooks_of(plugin):
                continue
            before = len(self.failures)
            if self.is_loaded(plugin):
                with self._guarded(plugin, hook):
                    self._caller(hook, plugin)(event=event)
            for failure in self.failures[before:]:
                self._muted.add((plugin, hook))
                warn(f"{failure}; the run goes on without it")

    def failures_of(self, name: str) -> list[Failure]:
        """Return what went wrong with the plugin of this name."""
        return [failure for failure in self.failures if failure.plugin.name == name]

    def reject(
        self, plugin: Plugin, doing: str, reason: str, error: BaseException | None = None, *, offer: str = ""
    ) -> Failure:
        """Note that a plugin, or the one thing ``offer`` of it, cannot be used.

        Raises:
            PluginError: where ``TL_STRICT_PLUGINS`` is set.
        """
        details = "".join(traceback.format_exception(error)) if error is not None else ""
        return self._noted(Failure(plugin, doing, redacted(reason), redacted(details), offer), error)

    def reject_as_described(self, plugin: Plugin, doing: str) -> None:
        """Note what the index says to be wrong with what a plugin is doing."""
        known = self.description(plugin)
        for fault in known.faults if known is not None else ():
            if fault.doing == doing:
                self._noted(Failure(plugin, fault.doing, fault.reason, fault.traceback, fault.offer))

    def _noted(self, failure: Failure, error: BaseException | None = None) -> Failure:
        """Keep a failure, once: the index and the plugin itself may both tell of it."""
        alike = [one for one in self.failures if (one.plugin, one.doing, one.reason) == (
            failure.plugin, failure.doing, failure.reason)]  # fmt: skip
        if not alike:
            self.failures.append(failure)
        if self._strict:
            hint = f"TL_STRICT_PLUGINS is set; to go without: --no-plugin {failure.plugin.name}"
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

    def _describe(self, plugin: Plugin, known: Description) -> None:
        self._described[plugin] = known
        twin = next((other for other in self.plugins if other.module == plugin.module), None)
        if twin is not None:
            self.reject(plugin, "registration", f"its module {plugin.module} is the plugin {twin} already")
        elif any(fault.doing in LOADING for fault in known.faults):
            for doing in LOADING:
                self.reject_as_described(plugin, doing)
        else:
            self.plugins.append(plugin)

    def _load(self, plugin: Plugin) -> None:
        fault = None
        works = False
        with self._guarded(plugin, "import"):
            module = self._points[plugin].load()
            fault = _fault(plugin, module)
            if fault is None:
                self._manager.register(module, plugin.name)
                works = True
        if works != (plugin in self.plugins):
            (self.plugins.append if works else self.plugins.remove)(plugin)
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


def installed_plugins() -> list[Plugin]:
    """Return what the installed distributions declare, whether it works or not; nothing is imported."""
    return [_declaration(point) for point in _installed()]


def _installed() -> Iterable[EntryPoint]:
    """Return the entry points of what is installed; a distribution whose own files are damaged offers none."""
    try:
        return entry_points(group=ENTRY_POINT_GROUP)
    except Exception:  # one damaged distribution spoils the reading of all of them at once
        return [point for found in distributions() for point in _of_distribution(found)]


def _of_distribution(found: Distribution) -> list[EntryPoint]:
    try:
        return [point for point in found.entry_points if point.group == ENTRY_POINT_GROUP]
    except Exception:  # what is damaged raises whatever the parsers do
        note(f"an installed package has damaged files and is passed over: {getattr(found, '_path', found)}")
        return []


def _declaration(point: EntryPoint) -> Plugin:
    try:
        name, version = (point.dist.name, point.dist.version) if point.dist else ("no distribution", "")
    except Exception:  # its METADATA is damaged
        name, version = "a distribution without readable metadata", ""
    return Plugin(point.name, point.value, str(name), str(version))


def _time_limit(environ: Mapping[str, str]) -> float:
    text = environ.get("TL_PLUGIN_TIMEOUT") or str(TIME_LIMIT)
    try:
        limit = float(text)
    except ValueError:
        limit = math.nan
    if not 0 < limit < math.inf:
        raise UsageError(f"TL_PLUGIN_TIMEOUT: {text!r} is no number of seconds", hint="set it to a number, such as 60")
    return limit


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
