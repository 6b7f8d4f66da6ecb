"""The feature cache: the states of one network at one freeze point, kept for every run of the machine."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from tlcore.contracts import State
from tlcore.errors import ResourceError
from tlcore.features.batching import stacked
from tlcore.features.key_index import KeyIndex
from tlcore.features.keys import Namespace
from tlcore.features.shards import SHARD_BYTES, DamagedShard, Shard, ShardWriter, open_shard, shard_files, shard_keys
from tlcore.files.atomic import publish_file
from tlcore.files.disk import room

if TYPE_CHECKING:
    import numpy
    from numpy.typing import NDArray
    from torch import Tensor

__all__ = ["ABOUT", "CacheConfig", "FeatureCache"]

ABOUT = "about.json"


@dataclass(frozen=True)
class CacheConfig:
    """Where the states of a namespace are cached, and whether they are cached at all."""

    root: Path
    namespace: Namespace
    mode: Literal["auto", "always", "never"] = "auto"
    reads: int = 2
    """How often training will read each state."""
    only_read: Path | None = None
    """The root of another feature cache whose states are read too."""
    reserved: int = 0
    """Bytes of the disk that must stay free for the run itself."""

    @property
    def folder(self) -> Path:
        """The folder of these states."""
        return self.namespace.folder(self.root)


class FeatureCache:
    """Finds states by key, adds new ones and reads batches; several processes may use one folder at a time."""

    def __init__(
        self,
        config: CacheConfig,
        *,
        made_on: str = "",
        tell: Callable[[str], None] = lambda text: None,
        shard_bytes: int = SHARD_BYTES,
    ) -> None:
        self.folder = config.folder
        self.stored_bytes = 0
        self._config = config
        self._made_on = made_on
        self._tell = tell
        self._shard_bytes = shard_bytes
        self._shards: list[Shard] = []
        self._written: list[Shard] = []
        """Not in the index yet, but mapped at once: another process may evict the file, and not what is mapped."""
        self._opened: set[str] = set()
        self._index = KeyIndex()
        self._writer = ShardWriter(self.folder, made_on)

    def missing(self, keys: Collection[bytes]) -> set[bytes]:
        """Map the cached states of these keys, and return the keys of those that are not cached.

        A damaged shard is removed with a message; its states count as missing.
        """
        missing = self._index.missing(keys)
        found: list[bytes] = []
        shards: list[int] = []
        rows: list[int] = []
        for shard in self._new_shards(missing):
            for row, key in enumerate(shard.keys()):
                if key in missing:
                    missing.discard(key)
                    found.append(key)
                    shards.append(len(self._shards))
                    rows.append(row)
            self._shards.append(shard)
        if found:
            self._index.add(found, shards, rows)
        return missing

    def _new_shards(self, missing: set[bytes]) -> Iterator[Shard]:
        """Yield the shards that this process wrote, and those in the folders that hold some of what is missing."""
        written, self._written = self._written, []
        yield from written
        roots = (self._config.root, self._config.only_read) if missing else ()
        folders = [self._config.namespace.folder(root) for root in roots if root is not None]
        for path in (path for folder in folders for path in shard_files(folder)):
            if path.name not in self._opened and (shard := self._open(path, missing)) is not None:
                yield shard

    def _open(self, path: Path, missing: set[bytes]) -> Shard | None:
        """Return a shard that holds some of what is missing; None if it does not, or is damaged or gone."""
        try:
            if missing.isdisjoint(shard_keys(path)):
                return None
            shard = open_shard(path)
        except DamagedShard as damage:
            with contextlib.suppress(OSError):  # a cache that this user can only read
                path.unlink()
            self._tell(f"feature store: a damaged file was taken away and is computed again ({damage})")
            return None
        except OSError:  # another process has just evicted it
            return None
        if shard.made_on != self._made_on:
            self._tell(f"stored features were computed on {shard.made_on}; here they may differ in the last digits")
        self._opened.add(path.name)
        return shard

    def add(self, key: bytes, row: State, ragged: Sequence[str]) -> None:
        """Add the state of one example; a shard is written when it is large enough.

        Raises:
            ResourceError: the disk is full, or cannot be written to.
        """
        self._writer.add(key, row, ragged)
        if self._writer.size >= self._shard_bytes:
            self.flush()

    def flush(self) -> None:
        """Write what was added as a shard."""
        if not len(self._writer):
            return
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            if not (self.folder / ABOUT).exists():
                publish_file(self.folder / ABOUT, json.dumps(self._config.namespace.about, indent=2, sort_keys=True))
            size, keys = self._writer.size, self._writer.keys()
            path = self._writer.publish()
            self._writer = ShardWriter(self.folder, self._made_on)
            self.stored_bytes += size
            if (shard := self._open(path, keys)) is not None:
                self._written.append(shard)
        except OSError as error:
            raise ResourceError(
                f"the feature store cannot be written: {error.strerror or error}",
                where=room(self.folder, self._writer.size),
                hint="free some space (`tl cache prune`), name another place by TL_CACHE, or use features.store: never",
            ) from error

    @property
    def is_ragged(self) -> bool:
        """Whether states have positions, one for each token for example."""
        return any(shard.ragged for shard in self._shards)

    @property
    def has_states(self) -> bool:
        """Whether the cache holds more than the fact that an example can be read."""
        return any(shard.values for shard in self._shards)

    def lengths(self, keys: Sequence[bytes]) -> list[int]:
        """Return the number of positions of each state; 0 where it is not ragged."""
        return [shard.length(row) for shard, row in self._located(*self._index.locate(keys))]

    def row(self, key: bytes) -> tuple[State, list[str]]:
        """Return one state without the batch dimension, and the names of its ragged tensors."""
        ((shard, row),) = self._located(*self._index.locate([key]))
        return shard.row(row), list(shard.ragged)

    def batch(self, keys: Sequence[bytes]) -> State:
        """Return the states of these keys as one batch, padded with zeros to the longest."""
        shards, rows = self._index.locate(keys)
        first = self._shards[int(shards[0])]
        if first.ragged:
            return stacked([shard.row(row) for shard, row in self._located(shards, rows)], first.ragged)
        return {name: _gathered(name, self._shards, shards, rows) for name in first.values}

    def _located(self, shards: NDArray[numpy.int64], rows: NDArray[numpy.int64]) -> Iterator[tuple[Shard, int]]:
        return zip((self._shards[shard] for shard in shards.tolist()), rows.tolist(), strict=True)


def _gathered(name: str, known: Sequence[Shard], shards: NDArray[numpy.int64], rows: NDArray[numpy.int64]) -> Tensor:
    """Return the tensor ``name`` of each row (N, …) from its shard."""
    import numpy
    import torch

    used = numpy.unique(shards).tolist()
    sources = {shard: known[shard].values[name] for shard in used}
    if len(used) == 1:
        return sources[used[0]][torch.from_numpy(rows)]
    sample = sources[used[0]]
    gathered = torch.empty((len(rows), *sample.shape[1:]), dtype=sample.dtype)
    for shard, source in sources.items():
        (positions,) = numpy.nonzero(shards == shard)
        gathered[torch.from_numpy(positions)] = source[torch.from_numpy(rows[positions])]
    return gathered
