"""A run claims the states that it will compute, so that another one waits for them instead of computing them too.

A claim is a file that its owner keeps locked; the lock ends with the process. Locks only save work: where they have no
effect, two runs compute the same states and both are right.
"""

from __future__ import annotations

import contextlib
import os
import socket
import uuid
from collections.abc import Iterator
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from filelock import FileLock, Timeout

from tlcore.features.shards import split_keys

__all__ = ["Claim", "claimed"]

SUFFIX = ".claim"
_lock = partial(FileLock, poll_interval=0.01, fallback_to_soft=False)  # a soft lock would outlive a killed process


@dataclass(frozen=True)
class Claim:
    """States that another process is computing."""

    path: Path
    owner: str
    keys: frozenset[bytes]

    def wait(self) -> None:
        """Return when the owner is done or has exited."""
        with contextlib.suppress(OSError), _lock(self.path):
            self.path.unlink(missing_ok=True)


@contextlib.contextmanager
def claimed(folder: Path, keys: AbstractSet[bytes]) -> Iterator[tuple[AbstractSet[bytes], list[Claim]]]:
    """Claim the states that no other process computes; yield these, and the claims of others that overlap.

    Where nothing can be written or locked, nothing is claimed, and all of them are to be computed here.
    """
    with contextlib.ExitStack() as held:
        try:
            mine, others = _claim(folder, keys, held)
        except OSError:  # a full disk, a folder that is only read, or a disk without locks
            mine, others = keys, []
        yield mine, others


def _claim(
    folder: Path, keys: AbstractSet[bytes], held: contextlib.ExitStack
) -> tuple[AbstractSet[bytes], list[Claim]]:
    """Return the claimed states and the claims of others; ``held`` keeps the claim until it is closed."""
    with _lock(folder / "lock"):
        others = [claim for claim in _active(folder) if not claim.keys.isdisjoint(keys)]
        mine = keys - frozenset().union(*(claim.keys for claim in others))
        path = folder / f"{uuid.uuid4().hex}{SUFFIX}"
        held.enter_context(_lock(path))
        held.callback(path.unlink, missing_ok=True)
        owner = f"process {os.getpid()} on {socket.gethostname()}\n"
        path.write_bytes(owner.encode() + b"".join(sorted(mine)))
    return mine, others


def _active(folder: Path) -> Iterator[Claim]:
    """Yield the claims of running processes, and remove the others."""
    for path in folder.glob(f"*{SUFFIX}"):
        with contextlib.suppress(OSError):
            try:
                with _lock(path, blocking=False):
                    path.unlink(missing_ok=True)
            except Timeout:
                owner, _, keys = path.read_bytes().partition(b"\n")
                yield Claim(path, owner.decode("utf-8", "replace"), frozenset(split_keys(keys)))
