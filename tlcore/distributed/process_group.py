"""The processes that share a run: how many were asked for, how long they wait for each other, and who is gone."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterator
from pathlib import Path

from tlcore.errors import LostError, UsageError

__all__ = ["patience", "require_all", "talking"]

TIMEOUT = "TL_PROCESS_TIMEOUT"
PATIENCE = 1800.0
"""Seconds that a process waits for the others, unless the environment says otherwise."""


def patience() -> float:
    """Return how many seconds a process waits for the others before it gives up.

    Raises:
        UsageError: the environment's ``TL_PROCESS_TIMEOUT`` is no number above 0.
    """
    text = os.environ.get(TIMEOUT, "")
    if not text:
        return PATIENCE
    if re.fullmatch(r"\d+(\.\d+)?", text) and float(text) > 0:
        return float(text)
    raise UsageError(f"{TIMEOUT} is {text!r}", hint="give seconds, such as 1800")


def require_all(found: int) -> None:
    """Refuse to go on with fewer processes than were asked for.

    ``accelerate launch --cpu --num_processes 2`` starts one process without a word. It leaves the address of a group
    in the environment, as for several, but nobody's place in it.

    Raises:
        UsageError: there are fewer, or more.
    """
    environ = os.environ
    asked = environ.get("WORLD_SIZE", "1")
    if found == 1 and "WORLD_SIZE" not in environ and {"ACCELERATE_MIXED_PRECISION", "MASTER_PORT"} <= environ.keys():
        asked = _asked_of_accelerate() or "several"
    if asked != str(found):
        count = asked if asked.isdigit() else "N"
        torchrun = f"torchrun --nproc_per_node {count} -m tlcore.cli run RECIPE"
        raise UsageError(
            f"{asked} processes were asked for, got {found}",
            hint=f"use `tl run RECIPE --processes {count}` or `{torchrun}`",
        )


def _asked_of_accelerate() -> str | None:
    """Return what the launcher's command line says, where the system tells it."""
    with contextlib.suppress(OSError):
        words = Path(f"/proc/{os.getppid()}/cmdline").read_bytes().decode("utf-8", "replace")
        given = re.search(r"\0--num[_-]processes[=\0](\d+)\0", words)
        if given and int(given[1]) > 1:
            return given[1]
    return None


@contextlib.contextmanager
def talking(rank: int, size: int) -> Iterator[None]:
    """Turn what torch raises when processes no longer hear each other into an error that says so.

    Raises:
        LostError: another process is gone, or did not answer for as long as this one waits.
    """
    import torch

    try:
        yield
    except RuntimeError as error:
        if not isinstance(error, torch.distributed.DistError) and "gloo" not in str(error):
            raise
        late = "imed out" in str(error) or "timeout" in str(error).lower()
        what = f"heard nothing of the others for {patience():g} s" if late else "lost the others"
        raise LostError(
            f"process {rank} of {size} {what}",
            where=str(error).splitlines()[0],
            hint=f"set {TIMEOUT}, in seconds, if they need longer" if late else None,
        ) from error
