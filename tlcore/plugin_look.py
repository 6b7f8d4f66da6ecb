"""One look at one plugin, in a process that may end with it: what it implements and offers, and what does not work."""

from __future__ import annotations

import json
import os
import re
import sys
import sysconfig
from collections.abc import Iterable
from dataclasses import asdict
from importlib.metadata import EntryPoint
from pathlib import Path

from tlcore.plugin_index import Description, Fault, Listed
from tlcore.plugins import ENTRY_POINT_GROUP, PluginHost
from tlcore.registry import KINDS, Registry

__all__ = ["look", "main"]

FILE_IN_TRACEBACK = re.compile(r'^\s*File "(.+)", line \d+', re.MULTILINE)


def main() -> None:
    """Look at the plugin that the command line names (name, module) and answer in JSON on standard output.

    The plugin itself does not get hold of standard output, and what it leaves running does not keep the process alive.
    """
    answer = os.dup(1)
    os.dup2(2, 1)
    name, module = sys.argv[1:3]
    before = set(sys.modules)
    found = look(name, module)
    new = [sys.modules[name] for name in set(sys.modules) - before]
    paths = [getattr(loaded, "__file__", None) for loaded in new]
    paths += [path for fault in found.faults for path in FILE_IN_TRACEBACK.findall(fault.traceback)]
    told = {"description": asdict(found), "files": _of_nobody_else(path for path in paths if isinstance(path, str))}
    with os.fdopen(answer, "w", encoding="utf-8") as file:
        file.write(json.dumps(told))
    os._exit(0)


def look(name: str, module: str) -> Description:
    """Import a plugin and ask it for all that it offers."""
    host = PluginHost([EntryPoint(name, module, ENTRY_POINT_GROUP)], environ={})
    registry = Registry(host)
    offers = {
        kind: tuple(Listed(str(one.name), str(one.summary), one.modality) for one in registry.offers(kind))
        for kind in KINDS
    }
    faults = tuple(Fault(one.doing, one.reason, one.traceback, one.offer) for one in host.failures)
    hooks = tuple(hook for plugin in host.plugins for hook in host.hooks_of(plugin))
    return Description(hooks, offers, faults)


def _of_nobody_else(paths: Iterable[str]) -> list[str]:
    """Return the files that neither Python nor an installed distribution brings: those change with their versions."""
    others = [sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib")]
    others.append(str(Path(__file__).parent))
    return sorted({path for path in paths if os.path.isfile(path) and not path.startswith(tuple(others))})
