"""The store as a whole: where it is, what is in it, what goes when it grows too large."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tlcore.errors import UsageError, WeightsError
from tlcore.features.shards import DamagedShard, open_shard, shard_files, shard_keys
from tlcore.features.store import ABOUT
from tlcore.files.disk import cache_folder
from tlcore.files.untrusted import read_object

__all__ = ["Entry", "bytes_of", "entries", "evict", "limit_bytes", "store_root", "verify"]

LIMIT = "50 GB"
UNITS = {"": 1, "B": 1, "KB": 1e3, "MB": 1e6, "GB": 1e9, "TB": 1e12}
LEFT_BEHIND = 3600
"""Seconds after which a file that was never finished belongs to nobody."""


@dataclass(frozen=True)
class Entry:
    """One namespace: the states of one network at one line."""

    folder: Path
    about: Mapping[str, Any]
    states: int
    bytes: int
    used: float
    """When it was last used, in seconds since the epoch."""


def store_root() -> Path:
    """Return where states are kept: ``features`` in the folder that TL_CACHE names, else in ``~/.cache/tlcore``."""
    return cache_folder() / "features"


def limit_bytes() -> int:
    """Return how large the store may grow: TL_CACHE_LIMIT, such as ``200 GB``, else 50 GB.

    Raises:
        UsageError: the variable holds no size.
    """
    return bytes_of(os.environ.get("TL_CACHE_LIMIT") or LIMIT, "TL_CACHE_LIMIT")


def bytes_of(text: str, place: str) -> int:
    """Return the bytes that a text such as ``1.5 GB`` means.

    Raises:
        UsageError: it means none.
    """
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([KMGT]?B?)\s*", text.upper())
    if match is None:
        raise UsageError(f"{place} is {text!r}, which is no size", hint="write a size such as 50 GB")
    unit = match[2] if match[2] in UNITS else f"{match[2]}B"
    return int(float(match[1]) * UNITS[unit])


def entries(root: Path) -> list[Entry]:
    """Return what the store holds, what was used last first."""
    found = []
    for folder in sorted(root.iterdir()) if root.is_dir() else ():
        shards = [(path, _status(path)) for path in shard_files(folder)]
        known = [(path, status) for path, status in shards if status is not None]
        if not known:
            continue
        keys: set[bytes] = set()
        for path, _ in known:
            with contextlib.suppress(DamagedShard, OSError):
                keys.update(shard_keys(path))
        size = sum(status.st_size for _, status in known)
        used = max(status.st_mtime for _, status in known)
        found.append(Entry(folder, _about(folder), len(keys), size, used))
    return sorted(found, key=lambda entry: -entry.used)


def evict(root: Path, limit: int, *, older_than: float | None = None) -> tuple[int, int]:
    """Remove shards until the store is no larger than ``limit``, what was used longest ago first.

    ``older_than`` (seconds since the epoch) removes what was not used since then in any case. Whoever reads a shard
    has it mapped and keeps it. What only another user may remove stays. Return how many shards and bytes went.
    """
    shards = [
        (status.st_mtime, status.st_size, path)
        for folder in (sorted(root.iterdir()) if root.is_dir() else ())
        for path in shard_files(folder)
        if (status := _status(path)) is not None
    ]
    total = sum(size for _, size, _ in shards)
    gone = freed = 0
    for used, size, path in sorted(shards):
        if total - freed <= limit and (older_than is None or used >= older_than):
            continue
        with contextlib.suppress(PermissionError):
            path.unlink(missing_ok=True)
            gone, freed = gone + 1, freed + size
    _sweep(root)
    return gone, freed


def verify(root: Path) -> tuple[int, list[str]]:
    """Read every shard, take away the damaged ones; return how many were looked at, and what was wrong."""
    looked, damaged = 0, []
    for folder in sorted(root.iterdir()) if root.is_dir() else ():
        for path in shard_files(folder):
            looked += 1
            status = _status(path)
            try:
                open_shard(path)
            except DamagedShard as damage:
                damaged.append(str(damage))
                with contextlib.suppress(PermissionError):
                    path.unlink(missing_ok=True)
            except OSError:
                continue  # evicted by another process at this moment
            else:
                if status is not None:  # looking is no use
                    os.utime(path, (status.st_atime, status.st_mtime))
    return looked, damaged


def _sweep(root: Path) -> None:
    """Remove what was left behind: files that were never finished, and folders without a shard."""
    for folder in sorted(root.iterdir()) if root.is_dir() else ():
        status = _status(folder)
        if status is None or not folder.is_dir():
            continue
        fresh = time.time() - status.st_mtime < LEFT_BEHIND
        for path in folder.glob(".*"):
            status = _status(path)
            if status is not None and time.time() - status.st_mtime > LEFT_BEHIND:
                with contextlib.suppress(PermissionError):
                    path.unlink(missing_ok=True)
        busy = any((folder / "claims").glob("*.claim")) or any(folder.glob(".*"))
        if not fresh and not busy and not any(shard_files(folder)):
            shutil.rmtree(folder, ignore_errors=True)


def _status(path: Path) -> os.stat_result | None:
    try:
        return path.stat()
    except OSError:
        return None


def _about(folder: Path) -> dict[str, Any]:
    try:
        return read_object(folder / ABOUT)
    except WeightsError:
        return {}
