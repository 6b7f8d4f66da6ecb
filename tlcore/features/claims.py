"""Who computes what: a run claims the states that it will compute, so that another one waits instead of doing so too.

A claim is a file that its owner holds locked; the lock dies with the process. Locks only save work: where they do
nothing, two runs compute the same states and both are right.
"""

from __future__ import annotations

import contextlib
import os
import socket
import tempfile
from collections.abc import Iterator
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from pathlib import Path
from typing import Any

__all__ = ["Claim", "claimed", "held"]

SUFFIX = ".claim"
KEY_BYTES = 32


@dataclass(frozen=True)
class Claim:
    """States that another process is computing."""

    path: Path
    owner: str
    keys: frozenset[bytes]

    def wait(self) -> None:
        """Return when the owner is done or dead."""
        with contextlib.suppress(OSError):
            handle = os.open(self.path, os.O_RDONLY)
            try:
                _lock(handle)
            finally:
                os.close(handle)


@contextlib.contextmanager
def held(path: Path) -> Iterator[None]:
    """Hold the lock of a file that stays where it is."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
    try:
        _lock(handle)
        yield
    finally:
        os.close(handle)


@contextlib.contextmanager
def claimed(folder: Path, wanted: AbstractSet[bytes]) -> Iterator[tuple[AbstractSet[bytes], list[Claim]]]:
    """Claim what nobody else computes at the moment; yield that, and the claims of others that overlap.

    Where nothing can be written, nothing is claimed, and all of it is to be computed here.
    """
    try:
        mine, others, path, handle = _claim(folder, wanted)
    except OSError:  # a full disk, or a folder that is only read
        yield wanted, []
        return
    try:
        yield mine, others
    finally:
        path.unlink(missing_ok=True)
        os.close(handle)


def _claim(folder: Path, wanted: AbstractSet[bytes]) -> tuple[AbstractSet[bytes], list[Claim], Path, int]:
    """Return what is claimed now, the claims of others, and this one's file, open and locked.

    Raises:
        OSError: it cannot be written; nothing is left of it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with held(folder / "lock"):
        others = [claim for claim in _living(folder) if not claim.keys.isdisjoint(wanted)]
        mine = wanted - set().union(*(claim.keys for claim in others)) if others else wanted
        handle, name = tempfile.mkstemp(dir=folder, prefix=".", suffix=SUFFIX)
        path = Path(name).with_name(Path(name).name.removeprefix("."))
        try:
            _lock(handle)
            os.write(handle, f"process {os.getpid()} on {socket.gethostname()}\n".encode())
            with os.fdopen(os.dup(handle), "wb") as file:
                file.write(b"".join(sorted(mine)))
            with contextlib.suppress(FileNotFoundError):  # where locks do nothing, another run took it for a dead one's
                os.rename(name, path)
        except OSError:
            os.close(handle)
            Path(name).unlink(missing_ok=True)
            raise
    return mine, others, path, handle


def _living(folder: Path) -> Iterator[Claim]:
    """Yield the claims whose owner lives, and remove the others."""
    for path in folder.glob(f"*{SUFFIX}"):
        try:
            handle = os.open(path, os.O_RDWR)
        except OSError:
            continue
        try:
            if _lock(handle, wait=False):
                path.unlink(missing_ok=True)
                continue
            owner, _, keys = path.read_bytes().partition(b"\n")
        except OSError:
            continue
        finally:
            os.close(handle)
        parts = range(0, len(keys), KEY_BYTES)
        yield Claim(path, owner.decode("utf-8", "replace"), frozenset(keys[n : n + KEY_BYTES] for n in parts))


def _lock(handle: int, *, wait: bool = True) -> bool:
    """Lock a file; return whether it is ours. A system or a disk without locks gives every lock."""
    try:
        import fcntl
    except ImportError:  # not a Unix
        return True
    flags: Any = fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB)
    try:
        fcntl.flock(handle, flags)
    except BlockingIOError:
        return False
    except OSError:
        return True
    return True
