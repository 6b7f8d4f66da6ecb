"""`tl run --processes N`: the same command once for each process, watched until all are done or one fails."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from types import FrameType
from typing import IO, Any

from tlcore.distributed.worker import LAUNCHER, is_member
from tlcore.errors import LostError, UsageError

__all__ = ["launched"]

GRACE = 5.0
"""Seconds that the others have to end by themselves once one has failed."""
GENTLE = 30.0
"""Seconds for a step and its checkpoint, where the run is asked to stop."""
CAUSE = 2.0
"""Seconds after which a process that the others have lost is not ending, but hangs."""
LOST = LostError.exit_code
MOST_FOR_A_CORE = 8
"""Processes; more of them only wait for each other, and thousands bring a machine down."""


def launched(processes: int) -> int:
    """Run this program's own command line in so many processes; return the exit code of what failed first, or 0.

    Where it was stopped by SIGTERM or SIGINT, that is 128 and the signal's number.

    Raises:
        UsageError: fewer than one, more than this machine bears, or it was started by a launcher already.
    """
    if is_member():
        raise UsageError("--processes was given to a process that a launcher started", hint="leave one of them out")
    if processes < 1:
        raise UsageError(f"--processes is {processes}", hint="give how many are to share the run")
    cores = os.cpu_count() or 1
    if processes > MOST_FOR_A_CORE * cores:
        raise UsageError(
            f"--processes is {processes}, more than this machine of {cores} cores can bear",
            hint=f"give one for each GPU, or {cores} at most where there is none",
        )
    with _Launch(processes) as launch:
        return launch.watched()


class _Launch:
    """The processes of a run, and what became of them."""

    def __init__(self, processes: int) -> None:
        self._count = processes
        self._members: list[subprocess.Popen[bytes]] = []
        self._said: list[IO[bytes]] = []
        self._stopped_by: signal.Signals | None = None
        self._stopped_at = 0.0
        self._lost_at: float | None = None

    def __enter__(self) -> _Launch:
        self._notes = tempfile.TemporaryFile()
        self._before = {number: signal.signal(number, self._hear) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            self._start()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *raised: object) -> None:
        self._end()
        for number, handler in self._before.items():
            signal.signal(number, handler)
        for file in (*self._said, self._notes):
            file.close()

    def _start(self) -> None:
        words, common = _without_processes(sys.argv[1:]), _environment(self._count)
        common[LAUNCHER] = f"{os.getpid()} {self._notes.fileno()}"
        for rank in range(self._count):
            self._said.append(tempfile.TemporaryFile())  # noqa: SIM115 - closed on leaving
            self._members.append(
                subprocess.Popen(  # noqa: S603 - this program's own command line
                    # -P: a file of the working directory that is called like a module is none
                    [sys.executable, "-P", "-m", "tlcore.cli", *words],
                    env={**common, "RANK": str(rank), "LOCAL_RANK": str(rank)},
                    stdout=None if rank == 0 else subprocess.DEVNULL,
                    stderr=None if rank == 0 else self._said[rank],
                    pass_fds=(self._notes.fileno(),),
                )
            )
            if self._stopped_by is not None:  # a member that was not there yet has not heard it
                self._members[-1].send_signal(self._stopped_by)

    def _hear(self, number: int, frame: FrameType | None) -> None:
        """Pass a signal on to all; a terminal sends its own to them too, and they count both as one."""
        if self._stopped_by is None:
            self._stopped_by, self._stopped_at = signal.Signals(number), time.monotonic()
        for member in self._members:
            if member.poll() is None:
                member.send_signal(number)

    def watched(self) -> int:
        """Wait until all are done, or one fails: then end the others and tell what the first one said."""
        while True:
            codes = [member.poll() for member in self._members]
            if self._stopped_by is not None:
                return self._stopped(self._stopped_by)
            failed = next((rank for rank in range(self._count) if self._has_failed(rank, codes[rank])), None)
            if failed is not None:
                self._end()
                return self._told(failed)
            if LOST in codes:
                self._lost_at = self._lost_at or time.monotonic()
                if None not in codes or time.monotonic() - self._lost_at > CAUSE:
                    return self._told_who_hangs([rank for rank, code in enumerate(codes) if code is None])
            elif None not in codes:
                return 0
            time.sleep(0.05)

    def _has_failed(self, rank: int, code: int | None) -> bool:
        """Say whether a process ended for a reason of its own; one that ends well says so before."""
        if code == 0:
            return not any(note["rank"] == rank and note.get("done") for note in self._noted())
        return code is not None and code != LOST

    def _stopped(self, by: signal.Signals) -> int:
        """Wait for a gentle end; the first process tells how to go on."""
        until = self._stopped_at + GENTLE
        while time.monotonic() < until and any(member.poll() is None for member in self._members):
            if self._members[0].poll() is not None:
                until = min(until, time.monotonic() + GRACE)
                self._settle(until)
            time.sleep(0.05)
        self._end()
        codes = [member.returncode for member in self._members]
        failed = next((rank for rank, code in enumerate(codes) if code > 0 and code not in (128 + by, 130, LOST)), None)
        if failed is not None:
            return self._told(failed)
        return 128 + by if any(codes) else 0

    def _told(self, rank: int) -> int:
        """Tell why a process failed, and return the exit code for it."""
        code = self._members[rank].returncode
        who = f"process {rank} of {self._count}"
        if code < 0:
            _tell(f"{who} was killed (signal {-code}, {signal.Signals(-code).name})", self._how_to_go_on())
        elif code == 0:
            _tell(f"{who} left before the run was done, with exit code 0", self._how_to_go_on())
        elif rank:
            _tell(f"{who} failed with exit code {code}; it said:")
        if rank:
            self._said[rank].seek(0)
            sys.stderr.write(self._said[rank].read().decode("utf-8", "replace"))
        return code if code > 0 else 128 - code if code else 1

    def _told_who_hangs(self, running: Sequence[int]) -> int:
        why = next((f": {note['lost']}" for note in self._noted() if "lost" in note), "")
        self._end()
        if running:
            who = ", ".join(map(str, running))
            _tell(f"process {who} of {self._count} does not answer{why}", self._how_to_go_on())
        else:
            _tell(f"the processes lost each other{why}", self._how_to_go_on())
        return LOST

    def _noted(self) -> list[dict[str, Any]]:
        """Return what members have told the launcher."""
        size = os.fstat(self._notes.fileno()).st_size
        lines = os.pread(self._notes.fileno(), size, 0).decode().splitlines(keepends=True)
        return [json.loads(line) for line in lines if line.endswith("\n")]

    def _how_to_go_on(self) -> str | None:
        return next((note["hint"] for note in self._noted() if note.get("hint")), None)

    def _settle(self, until: float) -> None:
        while time.monotonic() < until and any(member.poll() is None for member in self._members):
            time.sleep(0.05)

    def _end(self) -> None:
        """End what still runs, gently first."""
        for member in self._members:
            if member.poll() is None:
                member.send_signal(signal.SIGTERM)
        self._settle(time.monotonic() + GRACE)
        for member in self._members:
            if member.poll() is None:
                member.kill()
            member.wait()


def _environment(processes: int) -> dict[str, str]:
    threads = str(max(1, (os.cpu_count() or 1) // processes))
    return {
        "OMP_NUM_THREADS": threads,
        **os.environ,
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(_free_port()),
        "WORLD_SIZE": str(processes),
        "LOCAL_WORLD_SIZE": str(processes),
    }


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


def _tell(text: str, hint: str | None = None) -> None:
    sys.stderr.write(f"error: {text}\n" + (f"hint: {hint}\n" if hint else ""))
    sys.stderr.flush()
