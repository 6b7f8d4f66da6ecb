"""Whether caching states pays: there must be room on the disk, and reading must be faster than computing."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from tlcore.errors import ResourceError
from tlcore.features.keys import Namespace
from tlcore.files.disk import free_bytes, readable_bytes

__all__ = ["CacheConfig", "DoesNotPayError", "require_room", "require_speed"]

FREE_SHARE = 0.9
"""At most this share of the free disk is filled."""
SLOW_DISK = 100e6
"""Bytes per second that any disk reads; only where that is slower than computing is the disk measured."""
PROBE_BYTES = 32 * 2**20


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


class DoesNotPayError(Exception):
    """Caching costs more than computing again; the message says why."""


def require_room(config: CacheConfig, needed: float, states: str, tell: Callable[[str], None]) -> None:
    """Report how many bytes ``states`` will take, and raise where the disk is too small.

    Raises:
        DoesNotPayError: they do not fit.
        ResourceError: they do not fit, and the recipe says that they are always cached.
    """
    free = free_bytes(config.folder)
    tell(f"feature store: about {readable_bytes(needed)} to write, {readable_bytes(free)} are free in {config.root}")
    if needed <= FREE_SHARE * free - config.reserved:
        return
    what = f"{states} need {readable_bytes(needed)}, and {readable_bytes(free)} are free"
    what += f", of which the run itself needs {readable_bytes(config.reserved)}" if config.reserved else ""
    if config.mode == "always":
        raise ResourceError(what, where=str(config.root), hint="name a larger disk by TL_CACHE")
    raise DoesNotPayError(f"{what}: they are computed again in each epoch")


def require_speed(config: CacheConfig, size: int, seconds: float) -> None:
    """Raise where a state of ``size`` bytes takes longer to read from the disk than the ``seconds`` to compute it.

    A cached state is written once and read by each pass over the data; otherwise each of them computes it.

    Raises:
        DoesNotPayError: reading takes longer.
    """
    if config.mode == "always" or size / SLOW_DISK < seconds / 2:
        return
    speed = _written_per_second(config.folder)
    if size / speed * (config.reads + 1) > seconds * config.reads:
        raise DoesNotPayError(
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
