"""How much room there is on a disk, and in which words that is told. Only the standard library is imported here."""

from __future__ import annotations

import errno
import os
from pathlib import Path

__all__ = ["NO_SPACE", "cache_folder", "free_bytes", "readable_bytes", "room", "same_disk"]

NO_SPACE = (errno.ENOSPC, errno.EDQUOT)
"""How an OSError says that a disk, or a user's share of it, is full."""


def free_bytes(folder: Path) -> int:
    """Return how much the disk that a folder is or will be on can still take."""
    status = os.statvfs(_present(folder))
    return status.f_bavail * status.f_frsize


def same_disk(one: Path, other: Path) -> bool:
    """Say whether two folders are or will be on the same disk."""
    return _present(one).stat().st_dev == _present(other).stat().st_dev


def _present(folder: Path) -> Path:
    """Return the folder, or the nearest one above it that is there."""
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    return folder


def room(folder: Path, needed: int | None = None) -> str:
    """Return how much is free where, for an error, with how many bytes are needed if that is known."""
    wanted = f"{readable_bytes(needed)} are needed, " if needed is not None else ""
    return f"{folder}: {wanted}{readable_bytes(free_bytes(folder.absolute()))} are free there"


def readable_bytes(count: float) -> str:
    """Return a number of bytes for people, such as ``1.5 GB``."""
    for unit in ("B", "KB", "MB", "GB"):
        if count < 1000:
            return f"{count:.0f} {unit}"
        count /= 1000
    return f"{count:.1f} TB"


def cache_folder() -> Path:
    """Return where tlcore keeps what it fetched: ``TL_CACHE``, else ``~/.cache/tlcore``."""
    return Path(os.environ.get("TL_CACHE") or Path.home() / ".cache" / "tlcore")
