"""`tl run --processes N`: the same command once for each process, watched until all are done or one fails."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from typing import IO

from tlcore.errors import UsageError

__all__ = ["is_member", "launched", "leads"]

GRACE = 5.0
"""Seconds that the others have to end by themselves once one has failed."""


def is_member() -> bool:
    """Say whether this process is one of several that a launcher started."""
    return int(os.environ.get("WORLD_SIZE", "1")) > 1


def leads() -> bool:
    """Say whether this process is the one that tells."""
    return int(os.environ.get("RANK", "0")) == 0


def launched(processes: int) -> int:
    """Run this program's own command line in so many processes; return the exit code of what failed first, or 0.

    Raises:
        UsageError: fewer than two, or it was started by a launcher already.
    """
    if is_member():
        raise UsageError("--processes was given to a process that a launcher started", hint="leave one of them out")
    if processes < 1:
        raise UsageError(f"--processes is {processes}", hint="give how many are to share the run")
    threads = str(max(1, (os.cpu_count() or 1) // processes))
    common = (
        {"OMP_NUM_THREADS": threads}
        | dict(os.environ)
        | {
            "MASTER_ADDR": "127.0.0.1",
            "MASTER_PORT": str(_free_port()),
            "WORLD_SIZE": str(processes),
            "LOCAL_WORLD_SIZE": str(processes),
        }
    )
    words = _without_processes(sys.argv[1:])
    members: list[subprocess.Popen[bytes]] = []
    said: list[IO[bytes]] = []
    try:
        for rank in range(processes):
            errors = tempfile.TemporaryFile()  # noqa: SIM115 - lives as long as the process
            said.append(errors)
            members.append(
                subprocess.Popen(  # noqa: S603 - this program's own command line
                    [sys.executable, "-m", "tlcore.cli", *words],
                    env={**common, "RANK": str(rank), "LOCAL_RANK": str(rank)},
                    stdout=None if rank == 0 else subprocess.DEVNULL,
                    stderr=None if rank == 0 else errors,
                )
            )
        return _watched(members, said)
    except KeyboardInterrupt:
        _ended(members, signal.SIGINT)
        return 130
    finally:
        _ended(members, signal.SIGTERM)


def _watched(members: Sequence[subprocess.Popen[bytes]], said: Sequence[IO[bytes]]) -> int:
    """Wait until all are done, or one fails: then end the others and tell what the first one said."""
    while True:
        codes = [member.poll() for member in members]
        failed = next((rank for rank, code in enumerate(codes) if code), None)
        if failed is None:
            if all(code == 0 for code in codes):
                return 0
            if (codes[0] is None and any(code == 0 for code in codes[1:])) or codes[0] == 0:
                _settle(members)
                if any(member.poll() is None for member in members):
                    _tell("a process ended before the others, which wait for it")
                    return 1
                continue
            time.sleep(0.05)
            continue
        _ended(members, signal.SIGTERM)
        code = members[failed].returncode
        if failed:
            said[failed].seek(0)
            _tell(f"process {failed} of {len(members)} failed{_by_signal(code)}; it said:")
            sys.stderr.write(said[failed].read().decode("utf-8", "replace"))
        elif code < 0:
            _tell(f"process 0 of {len(members)} failed{_by_signal(code)}")
        return code if code > 0 else 128 - code


def _settle(members: Sequence[subprocess.Popen[bytes]]) -> None:
    until = time.monotonic() + GRACE
    while time.monotonic() < until and any(member.poll() is None for member in members):
        time.sleep(0.05)


def _ended(members: Sequence[subprocess.Popen[bytes]], by: signal.Signals) -> None:
    """End what still runs, gently first."""
    for member in members:
        if member.poll() is None:
            member.send_signal(by)
    _settle(members)
    for member in members:
        if member.poll() is None:
            member.kill()
        member.wait()


def _by_signal(code: int) -> str:
    return f" by signal {-code} ({signal.Signals(-code).name})" if code < 0 else f" with exit code {code}"


def _without_processes(words: Sequence[str]) -> list[str]:
    kept: list[str] = []
    skip = False
    for word in words:
        if skip or word == "--processes":
            skip = not skip
        elif not word.startswith("--processes="):
            kept.append(word)
    return kept


def _free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def _tell(text: str) -> None:
    sys.stderr.write(f"error: {text}\n")
    sys.stderr.flush()
