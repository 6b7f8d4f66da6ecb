"""The commands that a plugin adds to ``tl``."""

from __future__ import annotations

import typer
from typer.core import TyperGroup

from tlcore.plugins.host import Plugin, PluginHost

__all__ = ["command_group"]


def command_group(host: PluginHost, plugin: Plugin) -> TyperGroup | None:
    """Return the commands that a plugin adds by the hook ``tl_commands``; None after a failure."""
    app = typer.Typer(rich_markup_mode=None)
    if host.call(plugin, "tl_commands", app=app) is None:
        return None
    with host.recorded(plugin, "tl_commands"):  # Typer looks at the parameters only now
        return typer.main.get_group(app)
    return None
