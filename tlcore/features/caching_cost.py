"""Whether caching states pays: there must be room on the disk, and reading must be faster than computing."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from tlcore.errors import ResourceError
from tlcore.features.cache import CacheConfig
from tlcore.files.disk import free_bytes, readable_bytes

__all__ = ["no_room", "too_slow"]

FREE_SHARE = 0.9
"""At most this share of the free disk is filled."""
SLOW_DISK = 100e6
"""Bytes per second that any disk reads; only where that is slower than computing is the disk measured."""
PROBE_BYTES = 32 * 2**20


def no_room(config: CacheConfig, needed: float, states: str, tell: Callable[[str], None]) -> str:
    """Report how many bytes ``states`` will take; return why they are not cached where the disk is too small.

    Raises:
        ResourceError: it is too small, and the recipe says that they are always cached.
    """
    free = free_bytes(config.folder)
    tell(f"feature store: about {readable_bytes(needed)} to write, {readable_bytes(free)} are free in {config.root}")
    if needed <= FREE_SHARE * free - config.reserved:
        return ""
    what = f"{states} need {readable_bytes(needed)}, and {readable_bytes(free)} are free"
    what += f", of which the run itself needs {readable_bytes(config.reserved)}" if config.reserved else ""
    if config.mode == "always":
        raise ResourceError(what, where=str(config.root), hint="name a larger disk by TL_CACHE")
    return f"{what}: they are computed again in each epoch"


def too_slow(config: CacheConfig, size: int, seconds: float) -> str:
    """Return why states are not cached where one of ``size`` bytes is computed in less time than it is read.

    A cached state is written once and read by each pass over the data; otherwise each of them computes it.
    """
    if config.mode == "always" or size / SLOW_DISK < seconds / 2:
        return ""
    speed = _written_per_second(config.folder)
    if size / speed * (config.reads + 1) <= seconds * config.reads:
        return ""
    return (
        f"states of {readable_bytes(size)} take longer to read at {readable_bytes(speed)}/s than to "
        f"compute ({seconds * 1000:.1f} ms): they are computed again in each epoch"
    )


def _written_per_second(folder: Path) -> float:
    """Write and remove 32 MB; return bytes per second."""
    folder.mkdir(parents=True, exist_ok=True)
    started = time.perf_counter()
    with tempfile.TemporaryFile(dir=folder) as file:
        file.write(bytes(PROBE_BYTES))
        file.flush()
        os.fsync(file.fileno())
    return PROBE_BYTES / (time.perf_counter() - started)
