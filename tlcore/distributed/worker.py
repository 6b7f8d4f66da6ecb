"""A process of a run that `tl run --processes N` started: it ends with its launcher, and tells it how it ended."""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import signal
import sys
from collections.abc import Iterator

import typer

from tlcore.errors import LostError

__all__ = ["LAUNCHER", "is_member", "leads", "member"]

LAUNCHER = "TL_LAUNCHER"
"""The environment's word from a launcher: its process and the file in which it looks for notes."""
PR_SET_PDEATHSIG = 1
"""prctl (sys/prctl.h)."""


def is_member() -> bool:
    """Say whether this process is one of several that a launcher started."""
    return int(os.environ.get("WORLD_SIZE", "1")) > 1


def leads() -> bool:
    """Say whether this process is the one that tells."""
    return _rank() == 0


@contextlib.contextmanager
def member() -> Iterator[None]:
    """Do a member's work inside; without our launcher nothing is done.

    That the others are gone is for the launcher to tell, which knows why: only it is told.
    """
    if not is_member() or LAUNCHER not in os.environ:
        yield
        return
    parent, notes = map(int, os.environ.pop(LAUNCHER).split())
    _end_with(parent)
    try:
        yield
    except LostError as error:
        _note(notes, lost=error.what, hint=error.hint)
        raise typer.Exit(error.exit_code) from error
    _note(notes, done=True)


def _note(notes: int, **words: object) -> None:
    os.write(notes, (json.dumps({"rank": _rank(), **words}) + "\n").encode())


def _rank() -> int:
    return int(os.environ.get("RANK", "0"))


def _end_with(parent: int) -> None:
    """Let the system send SIGTERM when the launcher dies, however it dies. Elsewhere than on Linux nothing is done."""
    if sys.platform != "linux":
        return
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, int(signal.SIGTERM), 0, 0, 0)
    if os.getppid() != parent:  # it died before that
        raise KeyboardInterrupt
