"""What one call of ``tl`` was asked for as a whole, and the plugins that it works with."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import typer

from tlcore.cli.layout import harmless
from tlcore.errors import UsageError, nearest

if TYPE_CHECKING:
    from tlcore.plugins.host import PluginHost
    from tlcore.plugins.registry import Registry

__all__ = ["Invocation", "host_of", "registry_of"]


@dataclass(frozen=True)
class Invocation:
    """The global options."""

    without: tuple[str, ...] = ()
    debug: bool = False


def registry_of(ctx: typer.Context) -> Registry:
    """Return what the plugins of this call offer; those that fail are mentioned on standard error when it ends.

    Raises:
        UsageError: ``--no-plugin`` names no plugin.
    """
    from tlcore.plugins.registry import Registry

    host = host_of(ctx)
    ctx.call_on_close(lambda: _mention_failures(host))
    return Registry(host)


def host_of(ctx: typer.Context) -> PluginHost:
    """Return the plugins of this call.

    Raises:
        UsageError: ``--no-plugin`` names no plugin.
    """
    from tlcore.plugins.host import PluginHost

    invocation = ctx.find_object(Invocation) or Invocation()
    host = PluginHost(disabled=invocation.without)
    known = {plugin.name for plugin in (*host.plugins, *host.disabled)} | {one.plugin.name for one in host.failures}
    for name in invocation.without:
        if name not in known:
            meant = nearest(name, known)
            hint = f"did you mean {meant!r}?" if meant else "`tl plugins` lists them"
            raise UsageError(f"--no-plugin: there is no plugin {name!r}", hint=hint)
    return host


def _mention_failures(host: PluginHost) -> None:
    names = list(dict.fromkeys(str(failure.plugin) for failure in host.failures))
    if names:
        what = f"plugin {names[0]} does" if len(names) == 1 else f"plugins {', '.join(names)} do"
        typer.echo(harmless(f"note: {what} not work; `tl plugins --errors` says why"), err=True)
