"""Loads the plugins: entry points are imported one at a time, and each failure is kept and shown.

A plugin is a module behind an entry point of the group ``tlcore``. Plugins are trusted code. A plugin that fails does
not stop the others: whatever it raises becomes a `Failure`, and only a recipe that names it ends with an error.
"""

from __future__ import annotations

import contextlib
import faulthandler
import inspect
import itertools
import os
import textwrap
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from importlib.metadata import Distribution, EntryPoint, distributions, entry_points
from types import ModuleType
from typing import Any

import pluggy

from tlcore import hookspecs
from tlcore.errors import Interrupted, PluginError, nearest
from tlcore.notes import note, stdout_to_stderr
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
"""Steps before a plugin's hooks can be called; ``Failure.doing`` is one of these, or the name of a hook."""
HOOK_NAMES = tuple(name for name in hookspecs.__all__ if name.startswith("tl_"))
SLOW_IMPORT = 20.0
"""Seconds after which the traceback of an import that does not end is printed, once."""


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
    """Why a plugin, or one of its hooks, cannot be used; ``offer`` names the refused spec, if it is only one."""

    plugin: Plugin
    doing: str
    reason: str
    traceback: str = ""
    offer: str = ""

    def __str__(self) -> str:
        return f"plugin {self.plugin} failed at {self.doing}: {self.reason}"


class PluginHost:
    """The plugins of one process: a plain object that is passed on, never a global.

    ``declared`` replaces the installed entry points (for tests). ``disabled`` names plugins that are not loaded. From
    ``environ``: ``TL_PLUGINS`` (if set, even to nothing: besides the built-in plugins only these, comma-separated) and
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
        points = {_declaration(point): point for point in (_installed() if declared is None else declared)}
        names, allowed = set(disabled), environ.get("TL_PLUGINS")
        self.disabled = sorted(plugin for plugin in points if plugin.name in names or not _allowed(plugin, allowed))
        for plugin in self._without_clashes(sorted(points.keys() - set(self.disabled))):
            self._load(plugin, points[plugin])

    def call(self, plugin: Plugin, hook: str, **given: Any) -> list[Any] | None:
        """Return what a plugin offers by a hook; None after a failure."""
        with self.recorded(plugin, hook):
            return [spec for specs in self._caller(hook, plugin)(**given) for spec in specs]
        return None

    def notify(self, hook: str, event: Any, warn: Callable[[str], None]) -> None:
        """Send an event to every plugin; a hook that raises is skipped from then on, with a warning."""
        for plugin in self.plugins:
            if (plugin, hook) in self._muted:
                continue
            before = len(self.failures)
            with self.recorded(plugin, hook):
                self._caller(hook, plugin)(event=event)
            for failure in self.failures[before:]:
                self._muted.add((plugin, hook))
                warn(f"{failure}; the run continues without it")

    @contextlib.contextmanager
    def recorded(self, plugin: Plugin, doing: str) -> Iterator[None]:
        """Run a plugin's code: what it raises becomes its failure, SystemExit too."""
        try:
            with stdout_to_stderr():
                yield
        except (KeyboardInterrupt, Interrupted):
            raise
        except BaseException as error:
            reason = f"{type(error).__name__}: {error}".removesuffix(": ")
            self.reject(plugin, doing, textwrap.shorten(reason, width=400), error)

    def not_asked(self, hook: str) -> str:
        """Return in words which plugins a hook could not be called on; empty if there are none."""
        failed = [failure.plugin for failure in self.failures if failure.doing in (*LOADING, hook)]
        states = (("failed", failed), ("are switched off", self.disabled))
        return "; ".join(
            f"not asked, since they {state}: {', '.join(sorted({plugin.name for plugin in plugins}))}"
            for state, plugins in states
            if plugins
        )

    def failures_of(self, name: str) -> list[Failure]:
        """Return the failures of the plugin of this name."""
        return [failure for failure in self.failures if failure.plugin.name == name]

    def reject(
        self, plugin: Plugin, doing: str, reason: str, error: BaseException | None = None, *, offer: str = ""
    ) -> Failure:
        """Record that a plugin, or its one spec ``offer``, cannot be used.

        Raises:
            PluginError: ``TL_STRICT_PLUGINS`` is set.
        """
        details = "".join(traceback.format_exception(error)) if error is not None else ""
        failure = Failure(plugin, doing, redacted(reason), redacted(details), offer)
        if failure not in self.failures:
            self.failures.append(failure)
        if self._strict:
            hint = f"TL_STRICT_PLUGINS is set; to run without it: --no-plugin {plugin.name}"
            raise PluginError(str(failure), hint=hint) from error
        return failure

    def _without_clashes(self, declared: list[Plugin]) -> list[Plugin]:
        """Return the plugins whose name is theirs alone; a built-in plugin keeps its name."""
        kept = []
        for name, group in itertools.groupby(declared, key=lambda plugin: plugin.name):
            same = list(group)
            builtin = [plugin for plugin in same if plugin.distribution == BUILTIN_DISTRIBUTION]
            winner = same[0] if len(same) == 1 else builtin[0] if builtin else None
            kept += [winner] if winner else []
            for plugin in same:
                if plugin != winner:
                    others = " and ".join(str(other) for other in same if other != plugin)
                    self.reject(plugin, "loading", f"the name {name!r} is also claimed by {others}")
        return kept

    def _load(self, plugin: Plugin, point: EntryPoint) -> None:
        fault = None
        with self.recorded(plugin, "import"):
            with _import_watched(plugin):
                module = point.load()
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
def _import_watched(plugin: Plugin) -> Iterator[None]:
    """Name on standard error what a crash, a hang or ``os._exit`` at import would end without a word."""
    exit_process, process = os._exit, os.getpid()

    def named_exit(status: int) -> None:
        if os.getpid() == process:
            os.write(2, f"error: plugin {plugin} ended the process at import by os._exit({status})\n".encode())
        exit_process(status or PluginError.exit_code)

    was_enabled = faulthandler.is_enabled()
    if not was_enabled:
        faulthandler.enable(2)
    faulthandler.dump_traceback_later(SLOW_IMPORT, file=2)
    os._exit = named_exit  # type: ignore[assignment]
    try:
        yield
    finally:
        os._exit = exit_process
        faulthandler.cancel_dump_traceback_later()
        if not was_enabled:
            faulthandler.disable()


def installed_plugins() -> list[Plugin]:
    """Return what the installed distributions declare; nothing is imported."""
    return [_declaration(point) for point in _installed()]


def _installed() -> Iterable[EntryPoint]:
    """Return the entry points of the installed distributions, without those whose own files are damaged."""
    try:
        return entry_points(group=ENTRY_POINT_GROUP)
    except Exception:  # one damaged distribution makes the reading of all of them fail
        return [point for distribution in distributions() for point in _points_of(distribution)]


def _points_of(distribution: Distribution) -> list[EntryPoint]:
    try:
        return [point for point in distribution.entry_points if point.group == ENTRY_POINT_GROUP]
    except Exception:  # a damaged file makes the parsers raise anything
        note(f"skipped an installed package whose metadata is damaged: {getattr(distribution, '_path', distribution)}")
        return []


def _declaration(point: EntryPoint) -> Plugin:
    try:
        name, version = (point.dist.name, point.dist.version) if point.dist else ("no distribution", "")
    except Exception:  # its METADATA is damaged
        name, version = "a distribution without readable metadata", ""
    return Plugin(point.name, point.value, str(name), str(version))


def _allowed(plugin: Plugin, names: str | None) -> bool:
    if names is None or plugin.distribution == BUILTIN_DISTRIBUTION:
        return True
    return plugin.name in [name.strip() for name in names.split(",")]


def _fault(plugin: Plugin, module: Any) -> str | None:
    """Return what is wrong with a plugin's module: pluggy ignores a misspelled hook and a missing decorator."""
    if not isinstance(module, ModuleType):
        return f"{plugin.module} is not a module: an entry point names the module that implements the hooks"
    if "/" in plugin.name:
        return f"{plugin.name!r} is not a name for a plugin: a slash separates plugin and name"
    version = getattr(module, "TLCORE_API", hookspecs.API_VERSION)
    if version != hookspecs.API_VERSION:
        return f"it is written for plugin API {version}; this tlcore has API {hookspecs.API_VERSION}"
    hooks, faults = 0, []
    for name in dir(module):
        value = getattr(module, name, None)
        if not inspect.isroutine(value):
            continue
        marks = getattr(value, "tlcore_impl", None)
        hook = (marks and marks.get("specname")) or name
        hooks += bool(marks)
        meant = nearest(hook, HOOK_NAMES)
        if marks and hook not in HOOK_NAMES:
            faults.append(f"{hook} is not a hook of tlcore" + (f"; did you mean {meant}?" if meant else ""))
        # Only functions of the plugin's own: a module may import names that begin alike.
        elif not marks and getattr(value, "__module__", None) == module.__name__ and name.startswith("tl_") and meant:
            faults.append(f"{name} is not marked with @tlcore.hookimpl, so it would never be called")
    if not hooks and not faults:
        return "it implements no hook: mark its functions with @tlcore.hookimpl"
    return "; ".join(faults) or None
