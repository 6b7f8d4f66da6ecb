"""What a cached state is found by: the frozen stages, the precision, the view, and the example's content.

Never a path, a time, or a name: what is moved, renamed or copied is found again, and what was changed is not.
"""

from __future__ import annotations

import functools
import hashlib
import json
import os
import sys
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from tlcore.contracts import Backbone, Example, View
from tlcore.data.compact import Digests
from tlcore.files.digests import digest_of_tensors, file_digest
from tlcore.randomness import derived_seed

if TYPE_CHECKING:
    from torch import Tensor, nn

__all__ = ["CachedViews", "FeatureKeys", "FeatureRequest", "Namespace", "namespace_of", "state_key", "versions_of"]

FORMAT = 3
"""Raised when shards, batch shapes or anything else that decides a cached value changes in tlcore itself."""
FOLDER_DIGITS = 32


class FeatureRequest(NamedTuple):
    """A state to compute: of an example, as it is or in one augmented version."""

    key: bytes
    name: str
    """The example's id; ``example`` has another one where its versions are drawn by its content."""
    example: Example
    view: View | None = None


@dataclass(frozen=True)
class CachedViews:
    """Which examples are augmented, and how many versions of each are cached."""

    seed: int
    count: int
    ids: frozenset[str]

    def number(self, content: str, epoch: int) -> int:
        """Return which version of an example an epoch reads: in turn, each example from a start of its own."""
        return (derived_seed(self.seed, "view", content) + epoch) % self.count


@dataclass(frozen=True)
class FeatureKeys:
    """The keys of examples: the digest of each one's content by id, its views, and how these are augmented."""

    digests: Mapping[str, str]
    views: CachedViews | None = None
    augment: Any = None

    def requests(self, examples: Collection[Example]) -> Iterator[FeatureRequest]:
        """Yield each version of each example, view by view, since only examples of one view are prepared together."""
        views = self.views
        for number in range(views.count if views is not None else 1):
            for example in examples:
                if number == 0 or (views is not None and example.id in views.ids):
                    yield self._request(example, number)

    def request(self, example: Example, epoch: int | None) -> FeatureRequest:
        """Return the version of an example that an epoch reads; without an epoch, the first."""
        number = 0
        if epoch is not None and self.views is not None and example.id in self.views.ids:
            number = self.views.number(self.digests[example.id], epoch)
        return self._request(example, number)

    def _request(self, example: Example, number: int) -> FeatureRequest:
        views, name = self.views, example.id
        if views is None or name not in views.ids:
            # Digests share their bytes, which saves memory.
            shared = self.digests.raw(name) if isinstance(self.digests, Digests) else None
            return FeatureRequest(shared or state_key(self.digests[name], None), name, example)
        content, view = self.digests[name], View(views.seed, number)
        # What is drawn for a version follows the content, so that an example keeps its versions under any name.
        example = Example(content, example.input, example.label, example.split, example.group, example.columns)
        return FeatureRequest(state_key(content, view, self.augment), name, example, view)


@dataclass(frozen=True)
class Namespace:
    """All that decides the states of one network at one freeze point, besides the example."""

    about: Mapping[str, Any]

    @property
    def digest(self) -> str:
        """The SHA-256 of the description, in hexadecimal."""
        return hashlib.sha256(json.dumps(self.about, sort_keys=True).encode()).hexdigest()

    def folder(self, root: Path) -> Path:
        """Return the folder of these states below the root of a feature cache."""
        return root / self.digest[:FOLDER_DIGITS]


def namespace_of(
    backbone: Backbone, freeze_at: int, *, name: str, weights: str, precision: str, libraries: Mapping[str, str]
) -> Namespace:
    """Describe the states at a freeze point.

    ``weights`` is the digest of every frozen parameter and buffer, ``libraries`` the installed version of each package
    whose code decides a value.
    """
    frozen = list(backbone.stages.values())[:freeze_at]
    # How examples are augmented decides the views, whose keys include it, and not the example as it is.
    preparation = {key: value for key, value in backbone.preparation.items() if key != "augment"}
    return Namespace(
        {
            "format": FORMAT,
            "backbone": name,
            "stages": list(backbone.stages)[:freeze_at],
            "pooled": freeze_at == len(backbone.stages),
            "weights": weights,
            "settings": _settings(frozen),
            "code": _code(backbone, frozen),
            "preparation": preparation,
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
    """Return the installed version of each distribution, ``absent`` if it is not installed."""
    versions = {}
    for name in names:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            versions[name] = "absent"
    return versions


def _settings(stages: Sequence[nn.Module]) -> str:
    """Return a digest of what decides a value and is not saved: plain attributes, and buffers outside the state dict.

    A text that may be a path is left out.
    """
    settings: list[Any] = []
    hidden: dict[str, Tensor] = {}
    for number, stage in enumerate(stages):
        for name, module in stage.named_modules():
            plain = {key: value for key, value in vars(module).items() if key[0] != "_" and _is_plain(value)}
            plain.pop("training", None)
            settings.append([number, name, type(module).__qualname__, plain])
        saved = stage.state_dict().keys()
        buffers = stage.named_buffers(remove_duplicate=False)
        hidden |= {f"{number}/{name}": buffer for name, buffer in buffers if name not in saved}
    text = json.dumps([settings, digest_of_tensors(hidden)], sort_keys=True)
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


_source_digest = functools.cache(file_digest)


def _file_of(module: str) -> Path | None:
    """Return the source of an imported module; None where it has none."""
    file = getattr(sys.modules.get(module), "__file__", None)
    return Path(file) if file is not None and Path(file).is_file() else None
