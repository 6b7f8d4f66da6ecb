"""The files of the store: some hundred states end to end, named by the digest of their content, never changed."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tlcore.contracts import State
from tlcore.publishing import publish_file
from tlcore.weights import file_digest

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["SHARD_BYTES", "SUFFIX", "DamagedShard", "Shard", "ShardWriter", "open_shard", "shard_files", "shard_keys"]

SHARD_BYTES = 64 * 2**20
SUFFIX = ".safetensors"
KEYS, LENGTHS, COLUMN = "keys", "lengths", "state/"
KEY_BYTES = 32


class DamagedShard(Exception):
    """A shard that is not what its name says; the message is the reason."""


@dataclass(frozen=True)
class Shard:
    """States of one file, mapped into memory: nothing is read before it is asked for."""

    path: Path
    packed_keys: Tensor
    """(N, 32) bytes."""
    ragged: tuple[str, ...]
    values: Mapping[str, Tensor]
    """By name: (N, …) each, a ragged one (places of all rows, …)."""
    starts: Tensor | None
    """(N + 1): where each ragged row begins."""
    made_on: str

    def keys(self) -> list[bytes]:
        """Return the key of each row."""
        return _split(self.packed_keys)

    def row(self, number: int) -> State:
        """Return one state, without the batch dimension."""
        if self.starts is None:
            return {name: values[number] for name, values in self.values.items()}
        start, end = self.starts[number : number + 2].tolist()
        return {
            name: values[start:end] if name in self.ragged else values[number] for name, values in self.values.items()
        }


class ShardWriter:
    """Collects states and publishes them as one shard."""

    def __init__(self, folder: Path, made_on: str) -> None:
        self._folder = folder
        self._made_on = made_on
        self._keys: list[bytes] = []
        self._rows: list[State] = []
        self._ragged: tuple[str, ...] = ()
        self.bytes = 0

    def __len__(self) -> int:
        return len(self._keys)

    def add(self, key: bytes, row: State, ragged: Sequence[str]) -> None:
        """Take the state of one example."""
        self._keys.append(key)
        self._rows.append(row)
        self._ragged = tuple(ragged)
        self.bytes += KEY_BYTES + sum(tensor.numel() * tensor.element_size() for tensor in row.values())

    def publish(self) -> Path | None:
        """Write what was collected, whole or not at all, and begin anew; return the file, None where there is none."""
        import torch
        from safetensors.torch import save

        if not self._keys:
            return None
        tensors = {KEYS: torch.frombuffer(bytearray(b"".join(self._keys)), dtype=torch.uint8).view(-1, KEY_BYTES)}
        for name in self._rows[0]:
            parts = [row[name] for row in self._rows]
            tensors[COLUMN + name] = torch.cat(parts) if name in self._ragged else torch.stack(parts)
        if self._ragged:
            tensors[LENGTHS] = torch.tensor([len(row[self._ragged[0]]) for row in self._rows])
        about = {"ragged": json.dumps(self._ragged), "made_on": self._made_on}
        content = save(tensors, metadata=about)
        path = self._folder / f"{hashlib.sha256(content).hexdigest()}{SUFFIX}"
        self._folder.mkdir(parents=True, exist_ok=True)
        publish_file(path, content)
        self._keys, self._rows, self.bytes = [], [], 0
        return path


def open_shard(path: Path) -> Shard:
    """Map a shard into memory after every byte of it was checked against its name.

    Raises:
        DamagedShard: it was changed since it was written.
        OSError: it is gone, or cannot be read.
    """
    import torch
    from safetensors import SafetensorError, safe_open

    if file_digest(path) != path.name.removesuffix(SUFFIX):
        raise DamagedShard(f"{path.name} was changed since it was written")
    try:
        with safe_open(path, "pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - no mapping
            about: dict[str, Any] = file.metadata() or {}
    except SafetensorError as error:
        raise DamagedShard(f"{path.name}: {error}") from error
    starts = None
    if LENGTHS in tensors:
        starts = torch.cat([torch.zeros(1, dtype=torch.int64), tensors[LENGTHS].cumsum(0)])
    with contextlib.suppress(OSError):
        os.utime(path)  # when it was last used decides what is evicted first
    return Shard(
        path=path,
        packed_keys=tensors[KEYS],
        ragged=tuple(json.loads(about["ragged"])),
        values={name.removeprefix(COLUMN): value for name, value in tensors.items() if name.startswith(COLUMN)},
        starts=starts,
        made_on=about["made_on"],
    )


def shard_keys(path: Path) -> list[bytes]:
    """Return the keys of a shard, read but not yet checked.

    Raises:
        DamagedShard: it cannot be read as one.
        OSError: it is gone.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, "pt") as file:
            return _split(file.get_tensor(KEYS))
    except SafetensorError as error:
        raise DamagedShard(f"{path.name}: {error}") from error


def _split(keys: Tensor) -> list[bytes]:
    raw = keys.numpy().tobytes()
    return [raw[start : start + KEY_BYTES] for start in range(0, len(raw), KEY_BYTES)]


def shard_files(folder: Path) -> Iterator[Path]:
    """Yield the shards of a folder by name; none where there is no such folder."""
    with contextlib.suppress(FileNotFoundError):
        yield from sorted(path for path in folder.iterdir() if path.suffix == SUFFIX and not path.name.startswith("."))
