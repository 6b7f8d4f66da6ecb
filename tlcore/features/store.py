"""The feature store: the states of one network at one line, kept for every run of the machine."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Collection, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from tlcore.contracts import State
from tlcore.errors import ResourceError
from tlcore.features.batching import stacked
from tlcore.features.key_index import Places
from tlcore.features.keys import Namespace
from tlcore.features.shards import SHARD_BYTES, DamagedShard, Shard, ShardWriter, open_shard, shard_files, shard_keys
from tlcore.files.atomic import publish_file
from tlcore.files.disk import room

if TYPE_CHECKING:
    import numpy
    from numpy.typing import NDArray
    from torch import Tensor

__all__ = ["ABOUT", "FeatureStore", "folder_of"]

ABOUT = "about.json"
DIGITS = 32
"""So many digits of a namespace's digest name its folder."""


def folder_of(root: Path, namespace: Namespace) -> Path:
    """Return where a namespace lies below the root of the store."""
    return root / namespace.digest[:DIGITS]


class FeatureStore:
    """Finds states by key, takes new ones, and reads batches; several processes may use one folder at a time."""

    def __init__(
        self,
        root: Path,
        namespace: Namespace,
        *,
        made_on: str = "",
        tell: Callable[[str], None] = lambda text: None,
        shard_bytes: int = SHARD_BYTES,
        only_read: Path | None = None,
    ) -> None:
        self.folder = folder_of(root, namespace)
        self._folders = [self.folder, *([folder_of(only_read, namespace)] if only_read is not None else [])]
        self._namespace = namespace
        self._made_on = made_on
        self._tell = tell
        self._shard_bytes = shard_bytes
        self._shards: list[Shard] = []
        self._own: list[Shard] = []
        """Written here, and mapped at once: whoever prunes the store may take the files, and not what is mapped."""
        self._seen: set[str] = set()
        self._places = Places()
        self._writer = ShardWriter(self.folder, made_on)
        self.stored_bytes = 0

    def look(self, wanted: Collection[bytes]) -> set[bytes]:
        """Map what is there of the wanted states, and return the keys of those that are not.

        A damaged shard is taken away and told of; its states count as absent.
        """
        missing = self._places.missing(wanted)
        keys: list[bytes] = []
        shards: list[int] = []
        rows: list[int] = []
        for shard in self._to_look_at(missing):
            for row, key in enumerate(shard.keys()):
                if key in missing:
                    keys.append(key)
                    rows.append(row)
                    missing.discard(key)
            shards += [len(self._shards)] * (len(rows) - len(shards))
            self._shards.append(shard)
        if keys:
            self._places.add(keys, shards, rows)
        return missing

    def _to_look_at(self, missing: set[bytes]) -> Iterator[Shard]:
        """Yield the shards that this process wrote, which may be gone by now, and those that are there."""
        own, self._own = self._own, []
        yield from own
        for path in (path for folder in self._folders for path in shard_files(folder)) if missing else ():
            if path.name not in self._seen and (shard := self._taken(path, missing)) is not None:
                yield shard

    def _taken(self, path: Path, missing: set[bytes]) -> Shard | None:
        """Return a shard that holds some of what is missing; None if it does not, or is damaged or gone."""
        try:
            if missing.isdisjoint(shard_keys(path)):
                return None
            shard = open_shard(path)
        except DamagedShard as damage:
            with contextlib.suppress(OSError):  # a store that this user only reads
                path.unlink()
            self._tell(f"feature store: a damaged file was taken away and is computed again ({damage})")
            return None
        except OSError:  # another process has just evicted it
            return None
        if shard.made_on != self._made_on:
            self._tell(f"stored features were computed on {shard.made_on}; here they may differ in the last digits")
        self._seen.add(path.name)
        return shard

    def add(self, key: bytes, row: State, ragged: Sequence[str]) -> None:
        """Take the state of one example; with enough of them a shard becomes visible.

        Raises:
            ResourceError: the disk is full, or cannot be written to.
        """
        self._writer.add(key, row, ragged)
        if self._writer.size >= self._shard_bytes:
            self.flush()

    def flush(self) -> None:
        """Make visible what was taken."""
        if not len(self._writer):
            return
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            if not (self.folder / ABOUT).exists():
                publish_file(self.folder / ABOUT, json.dumps(self._namespace.about, indent=2, sort_keys=True))
            size, keys = self._writer.size, self._writer.keys()
            path = self._writer.publish()
            self.stored_bytes += size
            if path is not None and (shard := self._taken(path, keys)) is not None:
                self._own.append(shard)
        except OSError as error:
            raise ResourceError(
                f"the feature store cannot be written: {error.strerror or error}",
                where=room(self.folder, self._writer.size),
                hint="free some space (`tl cache prune`), name another place by TL_CACHE, or use features.store: never",
            ) from error

    @property
    def is_ragged(self) -> bool:
        """Whether states have places, one for each token for example."""
        return any(shard.ragged for shard in self._shards)

    @property
    def has_states(self) -> bool:
        """Whether it holds more than the mark that an example can be read."""
        return any(shard.values for shard in self._shards)

    def lengths(self, keys: Sequence[bytes]) -> list[int]:
        """Return how many places each state has; 0 where it is not ragged."""
        return [self._shards[shard].length(row) for shard, row in self._each(keys)]

    def row(self, key: bytes) -> tuple[State, list[str]]:
        """Return one state without the batch dimension, and the names of its ragged tensors."""
        ((shard, row),) = self._each([key])
        return self._shards[shard].row(row), list(self._shards[shard].ragged)

    def batch(self, keys: Sequence[bytes]) -> State:
        """Return the states of these keys as one batch, padded with zeros as far as the longest needs."""
        shards, rows = self._places.of(keys)
        first = self._shards[int(shards[0])]
        if first.ragged:
            return stacked([self._shards[shard].row(row) for shard, row in self._each(keys)], first.ragged)
        return {name: _gathered(name, self._shards, shards, rows) for name in first.values}

    def _each(self, keys: Sequence[bytes]) -> Iterator[tuple[int, int]]:
        return zip(*(numbers.tolist() for numbers in self._places.of(keys)), strict=True)


def _gathered(name: str, known: Sequence[Shard], shards: NDArray[numpy.int64], rows: NDArray[numpy.int64]) -> Tensor:
    """Return the chosen row of the chosen shard's tensor for each place."""
    import numpy
    import torch

    used = numpy.unique(shards).tolist()
    sources = {shard: known[shard].values[name] for shard in used}
    if len(used) == 1:
        return sources[used[0]][torch.from_numpy(rows)]
    sample = sources[used[0]]
    found = torch.empty((len(rows), *sample.shape[1:]), dtype=sample.dtype)
    for shard, source in sources.items():
        (at,) = numpy.nonzero(shards == shard)
        found[torch.from_numpy(at)] = source[torch.from_numpy(rows[at])]
    return found
