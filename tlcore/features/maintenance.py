"""The feature cache as a whole: where it is, what it holds, verification, and eviction when it grows too large."""

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
from tlcore.features.cache import ABOUT
from tlcore.features.shards import DamagedShard, open_shard, shard_files, shard_keys
from tlcore.files.disk import cache_folder
from tlcore.files.untrusted import read_object

__all__ = ["Entry", "bytes_of", "cache_root", "cached_keys", "entries", "evict", "limit_bytes", "verify"]

LIMIT = "50 GB"
UNITS = {"": 1, "B": 1, "KB": 1e3, "MB": 1e6, "GB": 1e9, "TB": 1e12}
LEFT_BEHIND = 3600
"""Seconds after which an unfinished file is removed."""


@dataclass(frozen=True)
class Entry:
    """One namespace: the states of one network at one freeze point."""

    folder: Path
    about: Mapping[str, Any]
    states: int
    bytes: int
    used: float
    """When it was last used, in seconds since the epoch."""


def cache_root() -> Path:
    """Return the root of the feature cache: ``features`` in the folder TL_CACHE, else in ``~/.cache/tlcore``."""
    return cache_folder() / "features"


def limit_bytes() -> int:
    """Return how large the feature cache may grow: TL_CACHE_LIMIT, such as ``200 GB``, else 50 GB.

    Raises:
        UsageError: the variable is not a size.
    """
    return bytes_of(os.environ.get("TL_CACHE_LIMIT") or LIMIT, "TL_CACHE_LIMIT")


def bytes_of(text: str, place: str) -> int:
    """Return the bytes that a text such as ``1.5 GB`` means.

    Raises:
        UsageError: it is not a size.
    """
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([KMGT]?B?)\s*", text.upper())
    if match is None:
        raise UsageError(f"{place} is {text!r}, which is no size", hint="write a size such as 50 GB")
    unit = match[2] if match[2] in UNITS else f"{match[2]}B"
    return int(float(match[1]) * UNITS[unit])


def entries(root: Path) -> list[Entry]:
    """Return what the feature cache holds, the last used first."""
    found = []
    for folder in _folders(root):
        statuses = [status for path in shard_files(folder) if (status := _status(path)) is not None]
        if not statuses:
            continue
        size, used = sum(status.st_size for status in statuses), max(status.st_mtime for status in statuses)
        found.append(Entry(folder, _about(folder), len(cached_keys(folder)), size, used))
    return sorted(found, key=lambda entry: -entry.used)


def cached_keys(folder: Path) -> set[bytes]:
    """Return the keys of a namespace's folder."""
    keys: set[bytes] = set()
    for path in shard_files(folder):
        with contextlib.suppress(DamagedShard, OSError):
            keys.update(shard_keys(path))
    return keys


def evict(root: Path, limit: int, *, older_than: float | None = None) -> tuple[int, int]:
    """Remove shards until the feature cache is not larger than ``limit``, the least recently used first.

    ``older_than`` (seconds since the epoch) removes what was not used since then in any case. A process that reads a
    shard has it mapped and keeps it. What only another user may remove stays. Return the number of removed shards and
    bytes.
    """
    shards = [
        (status.st_mtime, status.st_size, path)
        for folder in _folders(root)
        for path in shard_files(folder)
        if (status := _status(path)) is not None
    ]
    total = sum(size for _, size, _ in shards)
    removed = freed = 0
    for used, size, path in sorted(shards):
        if total - freed <= limit and (older_than is None or used >= older_than):
            continue
        with contextlib.suppress(PermissionError):
            path.unlink(missing_ok=True)
            removed, freed = removed + 1, freed + size
    _sweep(root)
    return removed, freed


def verify(root: Path) -> tuple[int, list[str]]:
    """Read every shard and remove the damaged ones; return the number of shards, and what was wrong."""
    count, damaged = 0, []
    for path in (path for folder in _folders(root) for path in shard_files(folder)):
        count += 1
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
            if status is not None:  # verifying does not count as use
                os.utime(path, (status.st_atime, status.st_mtime))
    return count, damaged


def _sweep(root: Path) -> None:
    """Remove unfinished files, and folders without a shard."""
    for folder in _folders(root):
        old = _is_left_behind(folder)  # removing a file makes it new
        for path in filter(_is_left_behind, folder.glob(".*")):
            with contextlib.suppress(PermissionError):
                path.unlink(missing_ok=True)
        busy = any((folder / "claims").glob("*.claim")) or any(folder.glob(".*"))
        if old and not busy and not any(shard_files(folder)):
            shutil.rmtree(folder, ignore_errors=True)


def _is_left_behind(path: Path) -> bool:
    status = _status(path)
    return status is not None and time.time() - status.st_mtime > LEFT_BEHIND


def _folders(root: Path) -> list[Path]:
    return sorted(path for path in root.iterdir() if path.is_dir()) if root.is_dir() else []


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
