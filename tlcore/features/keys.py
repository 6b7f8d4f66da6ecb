"""What a stored state is found by: the network below the line, the precision, the view, and the example's content.

Never a path, a time, or a name: what is moved, renamed or copied is found again, and what was changed is not.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import metadata
from typing import Any

from tlcore.contracts import Backbone, View

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


def _without_chance(preparation: Mapping[str, Any]) -> dict[str, Any]:
    """Leave out how examples are augmented: it decides the views, whose keys hold it, and not the example as it is."""
    return {key: value for key, value in preparation.items() if key != "augment"}
