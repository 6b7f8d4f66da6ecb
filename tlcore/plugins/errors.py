"""A plugin that fails, or breaks its contract, while something is computed: the error names it."""

from __future__ import annotations

import contextlib
import textwrap
import traceback
from collections.abc import Iterator
from pathlib import Path
from types import FrameType

from tlcore.errors import PluginError, TLError, is_out_of_memory
from tlcore.plugins.host import BUILTIN_DISTRIBUTION, Plugin, installed_plugins

__all__ = ["broken", "fault_of", "plugin_errors"]

LONGEST_REASON = 400


def broken(part: object, method: str, what: str) -> PluginError:
    """Return the error for a part whose ``method`` does not keep its contract; ``what`` says in which way."""
    kind = type(part)
    plugin = _plugin_of(kind.__module__)
    return PluginError(
        f"{kind.__qualname__}.{method} {what}",
        where=f"plugin {plugin}" if plugin else f"module {kind.__module__}",
        hint="that is for who wrote it to mend; `tlcore.testing.check_plugin` finds such faults",
    )


def fault_of(error: BaseException) -> PluginError | None:
    """Return what to tell of an exception that came through an installed plugin's own code; None where it did not.

    Refusals are the plugin's good right, and a user's interruption is nobody's fault. The built-in plugins are ours.
    """
    if isinstance(error, (TLError, KeyboardInterrupt)):
        return None
    for frame, line in reversed(list(traceback.walk_tb(error.__traceback__))):
        owner = type(frame.f_locals.get("self")).__module__  # of a method that it inherited from us
        plugin = _plugin_of(frame.f_globals.get("__name__", "")) or _plugin_of(owner)
        if plugin is not None:
            reason = f"{type(error).__name__}: {error}".removesuffix(": ")
            return PluginError(
                f"plugin {plugin} failed in {_doing(frame)}: {textwrap.shorten(reason, width=LONGEST_REASON)}",
                where=f"{Path(frame.f_code.co_filename).name}:{line}",
                hint="that is for who wrote it to mend; `tl --debug` shows the traceback",
            )
    return fault_of(error.__cause__) if error.__cause__ is not None else None


@contextlib.contextmanager
def plugin_errors() -> Iterator[None]:
    """Turn what an installed plugin's own code raises into a PluginError that names it; usable as a decorator.

    A full disk and exhausted memory are not the plugin's fault.
    """
    try:
        yield
    except OSError:
        raise
    except BaseException as error:  # a plugin may raise anything; sys.exit(0) would look like success
        if not is_out_of_memory(error) and (fault := fault_of(error)) is not None:
            raise fault from error
        raise


def _doing(frame: FrameType) -> str:
    """Return the name of the function, with the class of what it was called on if there is one."""
    name, owner = frame.f_code.co_name, frame.f_locals.get("self")
    return name if owner is None else f"{type(owner).__qualname__}.{name}"


def _plugin_of(module: str) -> Plugin | None:
    """Return the installed plugin, none of the built-in ones, whose package a module belongs to."""
    package = module.partition(".")[0]
    with contextlib.suppress(Exception):  # an installation that cannot be read must not hide the error that there is
        for plugin in installed_plugins():
            own = plugin.module.partition(":")[0].partition(".")[0]
            if own == package and plugin.distribution != BUILTIN_DISTRIBUTION:
                return plugin
    return None
