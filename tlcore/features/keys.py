"""What a stored state is found by: the network below the line, the precision, the view, and the example's content.

Never a path, a time, or a name: what is moved, renamed or copied is found again, and what was changed is not.
"""

from __future__ import annotations

import functools
import hashlib
import json
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tlcore.contracts import Backbone, View
from tlcore.files.digests import digest_of_tensors, file_digest

if TYPE_CHECKING:
    from torch import Tensor, nn

__all__ = ["Namespace", "namespace_of", "state_key", "versions_of"]

FORMAT = 3
"""Raised when shards, batch shapes or anything else that decides a stored value changes in tlcore itself."""


@dataclass(frozen=True)
class Namespace:
    """All that decides the states of one network at one line, besides the example."""

    about: Mapping[str, Any]

    @property
    def digest(self) -> str:
        """The SHA-256 of the description, in hexadecimal."""
        return hashlib.sha256(json.dumps(self.about, sort_keys=True).encode()).hexdigest()


def namespace_of(
    backbone: Backbone, line: int, *, name: str, weights: str, precision: str, libraries: Mapping[str, str]
) -> Namespace:
    """Describe the states at a line.

    ``weights`` is the digest of every parameter and buffer below it, ``libraries`` the installed version of each
    package whose code decides a value.
    """
    stages = list(backbone.stages)[:line]
    return Namespace(
        {
            "format": FORMAT,
            "backbone": name,
            "stages": stages,
            "pooled": line == len(backbone.stages),
            "weights": weights,
            "settings": _settings(list(backbone.stages.values())[:line]),
            "code": _code(backbone, list(backbone.stages.values())[:line]),
            "preparation": _without_chance(backbone.preparation),
            "precision": precision,
            "libraries": dict(libraries),
        }
    )


def state_key(content: str, view: View | None, augment: object = None) -> bytes:
    """Return 32 bytes for an example's content (a SHA-256 in hexadecimal) as it is, or in one augmented version."""
    if view is None:
        return bytes.fromhex(content)
    return hashlib.sha256(json.dumps([content, view.seed, view.number, augment], sort_keys=True).encode()).digest()


def versions_of(names: tuple[str, ...]) -> dict[str, str]:
    """Return the installed version of each distribution; a missing one has none."""
    found = {}
    for name in names:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            found[name] = "absent"
    return found


def _settings(stages: Sequence[nn.Module]) -> str:
    """Return a digest of what decides a value and is no saved tensor: plain attributes, and buffers that no file holds.

    A text that may be a path is left out.
    """
    found: list[Any] = []
    hidden: dict[str, Tensor] = {}
    for number, stage in enumerate(stages):
        for name, module in stage.named_modules():
            plain = {key: value for key, value in vars(module).items() if key[0] != "_" and _is_plain(value)}
            plain.pop("training", None)
            found.append([number, name, type(module).__qualname__, plain])
        saved = stage.state_dict().keys()
        buffers = stage.named_buffers(remove_duplicate=False)
        hidden |= {f"{number}/{name}": buffer for name, buffer in buffers if name not in saved}
    text = json.dumps([found, digest_of_tensors(hidden)], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def _is_plain(value: object) -> bool:
    if isinstance(value, str):
        return "/" not in value and os.sep not in value
    return isinstance(value, (bool, int, float)) or (isinstance(value, (tuple, list)) and all(map(_is_plain, value)))


def _code(backbone: Backbone, stages: Sequence[nn.Module]) -> str:
    """Return a digest of the source that computes: the backbone's package, and the modules that its stages are from.

    So what is changed without a new version, as while a plugin is written, is noticed. torch has its version.
    """
    kinds = {type(module) for stage in stages for module in stage.modules()}
    names = {kind.__module__ for kind in kinds if kind.__module__.partition(".")[0] != "torch"}
    files = {name: _file_of(name) for name in names}
    package = type(backbone).__module__.partition(".")[0]
    top = _file_of(package)
    files[package] = top
    if top is not None and top.name == "__init__.py":
        files |= {path.relative_to(top.parent).as_posix(): path for path in top.parent.rglob("*.py")}
    total = hashlib.sha256()
    for name in sorted(files):
        path = files[name]
        total.update(f"{name} {_source_digest(path) if path is not None else ''}\n".encode())
    return total.hexdigest()


def _file_of(module: str) -> Path | None:
    """Return the source of an imported module; None where it has none."""
    file = getattr(sys.modules.get(module), "__file__", None)
    return Path(file) if file is not None and Path(file).is_file() else None


@functools.cache
def _source_digest(path: Path) -> str:
    return file_digest(path)


def _without_chance(preparation: Mapping[str, Any]) -> dict[str, Any]:
    """Leave out how examples are augmented: it decides the views, whose keys hold it, and not the example as it is."""
    return {key: value for key, value in preparation.items() if key != "augment"}
