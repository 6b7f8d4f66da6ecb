"""The files of the feature cache: many states end to end, named by the digest of their content, never changed."""

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
from tlcore.errors import WeightsError
from tlcore.files.atomic import publish_file
from tlcore.files.digests import file_digest
from tlcore.files.tensors import require_few_tensors

if TYPE_CHECKING:
    import torch
    from torch import Tensor

__all__ = [
    "KEY_BYTES",
    "SHARD_BYTES",
    "SUFFIX",
    "DamagedShard",
    "Shard",
    "ShardWriter",
    "open_shard",
    "shard_files",
    "shard_keys",
    "split_keys",
]

SHARD_BYTES = 8 * 2**20
SUFFIX = ".safetensors"
KEYS, LENGTHS, COLUMN = "keys", "lengths", "state/"
KEY_BYTES = 32


class DamagedShard(Exception):
    """A shard that is not what its name says; the message is the reason."""


@dataclass(frozen=True)
class Shard:
    """States of one file, mapped into memory: nothing is read before it is needed."""

    path: Path
    packed_keys: Tensor
    """(N, 32) bytes."""
    ragged: tuple[str, ...]
    values: Mapping[str, Tensor]
    """By name: (N, …) each, a ragged one (positions of all rows, …)."""
    starts: Tensor | None
    """(N + 1): where each ragged row begins."""
    made_on: str

    def keys(self) -> list[bytes]:
        """Return the key of each row."""
        return split_keys(self.packed_keys.numpy().tobytes())

    def length(self, number: int) -> int:
        """Return the number of positions of a state; 0 where it is not ragged."""
        return 0 if self.starts is None else int(self.starts[number + 1] - self.starts[number])

    def row(self, number: int) -> State:
        """Return one state, without the batch dimension."""
        if self.starts is None:
            return {name: values[number] for name, values in self.values.items()}
        start, end = self.starts[number : number + 2].tolist()
        return {
            name: values[start:end] if name in self.ragged else values[number] for name, values in self.values.items()
        }


class ShardWriter:
    """Collects states, as bytes rather than tensors, and writes them as one shard."""

    def __init__(self, folder: Path, made_on: str) -> None:
        self._folder = folder
        self._made_on = made_on
        self._keys = bytearray()
        self._lengths: list[int] = []
        self._ragged: tuple[str, ...] = ()
        self._layout: dict[str, tuple[torch.dtype, tuple[int, ...]]] = {}
        """Type and shape of each tensor of a row; a ragged one's first dimension is left out."""
        self._columns: dict[str, bytearray] = {}

    def __len__(self) -> int:
        return len(self._keys) // KEY_BYTES

    @property
    def size(self) -> int:
        """The bytes of the shard as it is now."""
        return len(self._keys) + sum(map(len, self._columns.values()))

    def keys(self) -> set[bytes]:
        """Return the keys of the collected states."""
        return set(split_keys(bytes(self._keys)))

    def add(self, key: bytes, row: State, ragged: Sequence[str]) -> None:
        """Add the state of one example.

        Raises:
            ValueError: its tensors, types or shapes differ from those of the states before it.
        """
        import torch

        layout = {name: (t.dtype, tuple(t.shape[1:] if name in ragged else t.shape)) for name, t in row.items()}
        if not self._keys:
            self._ragged, self._layout = tuple(ragged), layout
            self._columns = {name: bytearray() for name in layout}
        if layout != self._layout or tuple(ragged) != self._ragged:
            raise ValueError(f"a state of {layout} among states of {self._layout}")
        self._keys += key
        for name, tensor in row.items():
            self._columns[name] += tensor.contiguous().reshape(-1).view(torch.uint8).numpy().data
        if ragged:
            self._lengths.append(len(row[ragged[0]]))

    def publish(self) -> Path:
        """Write the collected states, whole or not at all; return the file."""
        import torch
        from safetensors.torch import save

        tensors = {KEYS: torch.frombuffer(self._keys, dtype=torch.uint8).view(-1, KEY_BYTES)}
        for name, (dtype, shape) in self._layout.items():
            raw = self._columns[name]
            flat = torch.frombuffer(raw, dtype=dtype) if raw else torch.empty(0, dtype=dtype)
            tensors[COLUMN + name] = flat.reshape(-1, *shape)
        if self._ragged:
            tensors[LENGTHS] = torch.tensor(self._lengths)
        about = {"ragged": json.dumps(self._ragged), "made_on": self._made_on, "namespace": self._folder.name}
        content = save(tensors, metadata=about)
        path = self._folder / f"{hashlib.sha256(content).hexdigest()}{SUFFIX}"
        self._folder.mkdir(parents=True, exist_ok=True)
        publish_file(path, content)
        return path


def open_shard(path: Path) -> Shard:
    """Map a shard into memory after every byte of it was checked against its name.

    Raises:
        DamagedShard: it was changed since it was written, or put among the states of another network.
        OSError: it is gone, or cannot be read.
    """
    import torch

    _require_file(path)
    if file_digest(path) != path.name.removesuffix(SUFFIX):
        raise DamagedShard(f"{path.name} was changed since it was written")
    with _parsed(path) as file:
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a mapping
        about: dict[str, Any] = file.metadata() or {}
        ragged, made_on, namespace = tuple(json.loads(about["ragged"])), about["made_on"], about["namespace"]
        _require_rows(tensors, ragged)
    if namespace != path.parent.name:
        raise DamagedShard(f"{path.name} holds states of another network or preparation")
    starts = None
    if LENGTHS in tensors:
        starts = torch.cat([torch.zeros(1, dtype=torch.int64), tensors[LENGTHS].cumsum(0)])
    with contextlib.suppress(OSError):
        os.utime(path)  # what was used longest ago is evicted first
    values = {name.removeprefix(COLUMN): value for name, value in tensors.items() if name.startswith(COLUMN)}
    return Shard(path, tensors[KEYS], ragged, values, starts, made_on)


def shard_keys(path: Path) -> list[bytes]:
    """Return the keys of a shard, read but not yet checked.

    Raises:
        DamagedShard: it cannot be read as one.
        OSError: it is gone.
    """
    _require_file(path)
    with _parsed(path) as file:
        return split_keys(file.get_tensor(KEYS).numpy().tobytes())


def _require_file(path: Path) -> None:
    if not path.is_file():
        raise DamagedShard(f"{path.name} is no file") if os.path.lexists(path) else FileNotFoundError(str(path))


@contextlib.contextmanager
def _parsed(path: Path) -> Iterator[Any]:
    """Open the file of a shard; whatever does not fit in it is damage."""
    from safetensors import SafetensorError, safe_open

    try:
        require_few_tensors(path)
        with safe_open(path, "pt") as file:
            yield file
    except WeightsError as error:
        raise DamagedShard(f"{path.name}: {error.what}") from error
    except (SafetensorError, KeyError, ValueError, TypeError, RecursionError) as error:
        raise DamagedShard(f"{path.name}: {error}") from error
    except RuntimeError as error:  # torch opens the file again to map it; another process may have evicted it
        raise OSError(str(error)) from error


def _require_rows(tensors: Mapping[str, Tensor], ragged: Sequence[str]) -> None:
    """Raise ValueError for tensors that do not have as many rows as there are keys."""
    import torch

    keys, lengths = tensors[KEYS], tensors.get(LENGTHS)
    if keys.dtype != torch.uint8 or keys.dim() != 2 or keys.shape[1] != KEY_BYTES:
        raise ValueError(f"its keys are {keys.dtype} of {list(keys.shape)}")
    if (lengths is not None) != bool(ragged):
        raise ValueError("it does not say how long its rows are")
    positions = len(keys)
    if lengths is not None:
        if lengths.dtype != torch.int64 or lengths.shape != (len(keys),) or bool((lengths < 0).any()):
            raise ValueError("the lengths of its rows are none")
        positions = int(lengths.sum())
    for name in tensors.keys() - {KEYS, LENGTHS}:
        rows = positions if name.removeprefix(COLUMN) in ragged else len(keys)
        if not tensors[name].dim() or len(tensors[name]) != rows:
            raise ValueError(f"{name} does not have {rows} rows")


def split_keys(keys: bytes) -> list[bytes]:
    """Split keys that are stored end to end."""
    return [keys[start : start + KEY_BYTES] for start in range(0, len(keys), KEY_BYTES)]


def shard_files(folder: Path) -> Iterator[Path]:
    """Yield the shards of a folder by name; none where the folder does not exist or cannot be read."""
    with contextlib.suppress(FileNotFoundError, NotADirectoryError, PermissionError):
        yield from sorted(path for path in folder.iterdir() if path.suffix == SUFFIX and not path.name.startswith("."))
