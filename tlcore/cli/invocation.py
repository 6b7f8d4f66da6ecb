"""The plugins that one call of ``tl`` works with, and the commands that they add."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import typer
from typer.core import TyperGroup

from tlcore.cli.layout import harmless
from tlcore.errors import UsageError, nearest

if TYPE_CHECKING:
    from tlcore.plugins.host import Plugin, PluginHost
    from tlcore.plugins.registry import Registry

__all__ = ["ExtensibleGroup", "commands_by_plugin", "host_of", "registry_of"]

COMMANDS = f"{__name__}.commands"


class ExtensibleGroup(TyperGroup):
    """A group of commands that plugins extend: loaded to list its commands, or to find one that it does not have."""

    def list_commands(self, ctx: Any) -> list[str]:
        """Return the names of all commands, those of plugins last."""
        commands_by_plugin(ctx)
        return super().list_commands(ctx)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """Return the command of this name; None if there is none."""
        if cmd_name not in self.commands:
            commands_by_plugin(ctx)
        return super().get_command(ctx, cmd_name)

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """Return the command that the first argument names, with its arguments.

        Raises:
            UsageError: no such command, and plugins that may have it were not loaded.
        """
        if not ctx.resilient_parsing and self.get_command(ctx, args[0]) is None:
            meant = nearest(args[0], self.commands)
            not_asked = host_of(ctx).not_asked("tl_commands")
            if not_asked:
                hints = [f"did you mean {meant!r}?"] if meant else []
                raise UsageError(f"No such command {args[0]!r}.", hint="; ".join([*hints, not_asked]))
        return super().resolve_command(ctx, args)


def registry_of(ctx: typer.Context) -> Registry:
    """Return what the plugins of this call offer; those that fail are mentioned on standard error when it ends.

    Raises:
        UsageError: ``--no-plugin`` names no plugin.
    """
    from tlcore.plugins.registry import Registry

    return Registry(host_of(ctx))


def host_of(ctx: typer.Context, *, mention_failures: bool = True) -> PluginHost:
    """Return the plugins of this call, loaded once; those that fail are mentioned on standard error when it ends.

    Raises:
        UsageError: ``--no-plugin`` names no plugin.
    """
    root = ctx.find_root()
    if root.obj is None:
        host = root.obj = _loaded(root.params.get("no_plugin") or ())
        if mention_failures:
            root.call_on_close(lambda: _mention_failures(host))
    return root.obj


def commands_by_plugin(ctx: typer.Context) -> Mapping[Plugin, Sequence[str]]:
    """Add the commands of plugins to ``tl``, once; return their names, such as ``recipe init``.

    Commands of tlcore and of its built-in plugins cannot be replaced: what would is refused as a failure of its plugin.
    """
    from tlcore.plugins.commands import command_group
    from tlcore.plugins.host import BUILTIN_DISTRIBUTION

    root = ctx.find_root()
    assert isinstance(root.command, TyperGroup)
    if COMMANDS not in root.meta:
        host = host_of(ctx)
        root.meta[COMMANDS] = {}
        for plugin in sorted(host.plugins, key=lambda one: one.distribution != BUILTIN_DISTRIBUTION):
            group = command_group(host, plugin)
            root.meta[COMMANDS][plugin] = _add(root.command, group, plugin, host) if group is not None else []
    return root.meta[COMMANDS]


def _add(group: TyperGroup, added: TyperGroup, plugin: Plugin, host: PluginHost, above: str = "") -> list[str]:
    """Add commands to a group, and to its groups of the same names; return the names of those that were added."""
    names = []
    for name, command in added.commands.items():
        full_name, present = f"{above}{name}", group.commands.get(name)
        if present is None:
            group.add_command(command, name)
            names.append(full_name)
        elif isinstance(present, TyperGroup) and isinstance(command, TyperGroup):
            names += _add(present, command, plugin, host, f"{full_name} ")
        else:
            host.reject(plugin, "tl_commands", f"the command `tl {full_name}` exists already", offer=full_name)
    return names


def _loaded(disabled: Sequence[str]) -> PluginHost:
    from tlcore.plugins.host import PluginHost

    host = PluginHost(disabled=disabled)
    known = {plugin.name for plugin in (*host.plugins, *host.disabled)} | {one.plugin.name for one in host.failures}
    for name in disabled:
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
