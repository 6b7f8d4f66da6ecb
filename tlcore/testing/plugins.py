"""A whole plugin: it loads, stays light, and everything that it offers keeps the contracts."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from importlib.metadata import EntryPoint
from pathlib import Path
from types import ModuleType
from typing import Any

from tlcore.plugins.commands import command_group
from tlcore.plugins.host import ENTRY_POINT_GROUP, PluginHost
from tlcore.plugins.registry import HOOK_OF_KIND, KINDS, Offer, Registry
from tlcore.specs import AdapterSpec, BackboneSpec, TaskSpec
from tlcore.testing.adapters import check_adapter
from tlcore.testing.backbones import check_backbone
from tlcore.testing.data_sources import check_data_source
from tlcore.testing.promises import require, room
from tlcore.testing.tasks import LABELS, check_task

__all__ = ["check_light_import", "check_offer", "check_plugin"]

HEAVY = ("PIL", "datasets", "numpy", "pandas", "pyarrow", "scipy", "sklearn", "tokenizers", "torch", "transformers")
OFFERING = f"""
import importlib, sys
before = set(sys.modules)
plugin = importlib.import_module(sys.argv[1])
for hook in {tuple(HOOK_OF_KIND.values())}:
    list(getattr(plugin, hook, tuple)())
if hasattr(plugin, "tl_commands"):
    import typer
    plugin.tl_commands(app=typer.Typer())
heavy = sorted({set(HEAVY)} & (set(sys.modules) - before))
sys.exit(f"it imports {{', '.join(heavy)}}" if heavy else 0)
"""


def check_plugin(
    plugin: ModuleType | PluginHost, folder: Path, *, labels: Mapping[str, Sequence[Any]] | None = None
) -> None:
    """Check a plugin's module, or all plugins of a host: that they load, stay light, and keep the contracts.

    ``folder`` is one to work in. ``labels`` gives, by the short name of a task, the labels to fit it on where a few
    letters do not suit it.

    Raises:
        ConformanceError: a promise that is broken; what a plugin's own code raises passes through with a note.
    """
    if isinstance(plugin, ModuleType):
        host = PluginHost([EntryPoint(plugin.__name__, plugin.__name__, ENTRY_POINT_GROUP)], environ={})
    else:
        host = plugin
    registry = Registry(host)
    offers = [offer for kind in KINDS for offer in registry.offers(kind)]
    for one in host.plugins:
        command_group(host, one)
    require(not host.failures, "\n".join(map(str, host.failures)))
    for one in host.plugins:
        check_light_import(one.module)
    for offer in offers:
        check_offer(offer, registry, folder, labels=(labels or {}).get(offer.name, LABELS))


def check_offer(offer: Offer, registry: Registry, folder: Path, *, labels: Sequence[Any] = LABELS) -> None:
    """Check one thing that is offered; a task previews the samples of the registry's backbones of its modality.

    Raises:
        ConformanceError: a promise that is broken; what a plugin's own code raises passes through with a note.
    """
    spec = offer.spec
    try:
        if isinstance(spec, TaskSpec):
            fitting = [one.spec for one in registry.offers("backbone") if one.modality == spec.modality]
            examples = [example for one in fitting for example in one.samples(room(folder))]
            check_task(spec, folder, labels=labels, examples=examples)
        elif isinstance(spec, BackboneSpec):
            check_backbone(spec, folder)
        elif isinstance(spec, AdapterSpec):
            check_adapter(spec, folder)
        else:
            check_data_source(spec, folder)
    except Exception as error:
        error.add_note(f"while checking the {spec.kind} {offer.full_name}")
        raise


def check_light_import(module: str) -> None:
    """Check in a fresh process that importing a plugin's module and asking what it offers imports nothing heavy."""
    environ = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    result = subprocess.run(  # noqa: S603 - the interpreter itself, with our own code
        [sys.executable, "-c", OFFERING, module], env=environ, capture_output=True, text=True, check=False
    )
    last = (result.stderr.strip().splitlines() or ["it fails"])[-1]
    require(
        result.returncode == 0,
        f"the module {module} is imported and asked what it offers: {last}; what is heavy goes into `build`",
    )
