"""What a measurement ran on, and what a whole process costs there: processor time, wall time, memory."""

from __future__ import annotations

import contextlib
import os
import platform
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

__all__ = ["Cost", "Process", "ProcessError", "described", "observed", "seconds_of", "spent", "timed"]

PACKAGES = ("torch", "torchvision", "transformers", "accelerate", "fastai", "tlcore")
THREAD_SETTINGS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "RAYON_NUM_THREADS")
"""What torch, numpy and the tokenizers read."""
LOOK_EVERY = 0.02
"""Seconds from one look at a running process to the next."""
SHOWN_ERRORS = 4000


@dataclass(frozen=True)
class Cost:
    """Seconds of processor time, of all threads and of processes that were waited for, and seconds by the clock."""

    cpu: float
    wall: float

    def __sub__(self, other: Cost) -> Cost:
        return Cost(self.cpu - other.cpu, self.wall - other.wall)

    def __add__(self, other: Cost) -> Cost:
        return Cost(self.cpu + other.cpu, self.wall + other.wall)

    def times(self, factor: float) -> Cost:
        """Return so many times as much."""
        return Cost(self.cpu * factor, self.wall * factor)


@dataclass(frozen=True)
class Process:
    """What a process cost from its start to its end, and what it printed."""

    cost: Cost
    peak_anonymous: int
    """Most bytes of memory that no file stands behind, of it and its children, as seen every 20 ms; 0 if unknown."""
    output: str


class ProcessError(Exception):
    """A measured process failed; the message is the end of what it said."""


def described() -> str:
    """Return processor, cores and versions in one line."""
    model = platform.processor() or platform.machine()
    bf16 = ""
    with contextlib.suppress(OSError):
        about = Path("/proc/cpuinfo").read_text(encoding="utf-8")
        lines = about.splitlines()
        model = next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), model)
        bf16 = ", ".join(name for name in ("avx512_bf16", "amx_bf16") if name in about)
    versions = []
    for name in PACKAGES:
        with contextlib.suppress(metadata.PackageNotFoundError):
            versions.append(f"{name} {metadata.version(name)}")
    cores = f"{os.cpu_count()} cores" + (f", {bf16}" if bf16 else "")
    return f"{model}, {cores}, Python {platform.python_version()}, {', '.join(versions)}"


def timed(command: Sequence[str]) -> tuple[float, str]:
    """Return the wall seconds of a whole process, start included, and its standard output."""
    began = time.perf_counter()
    done = subprocess.run([sys.executable, *command], stdout=subprocess.PIPE, text=True, check=True)
    return time.perf_counter() - began, done.stdout


def spent() -> Cost:
    """Return what this process and its finished children have cost so far; only differences mean something."""
    both = (resource.getrusage(resource.RUSAGE_SELF), resource.getrusage(resource.RUSAGE_CHILDREN))
    return Cost(sum(usage.ru_utime + usage.ru_stime for usage in both), time.perf_counter())


def observed(
    command: Sequence[str],
    *,
    threads: int,
    environment: Mapping[str, str] | None = None,
    watch: Callable[[int], None] = lambda process: None,
) -> Process:
    """Run Python with this command line and return what the whole process cost.

    ``watch`` is called with the process's number every 20 ms while it runs.

    Raises:
        ProcessError: it did not end with exit code 0.
    """
    surroundings = {**os.environ, **dict.fromkeys(THREAD_SETTINGS, str(threads)), **(environment or {})}
    with tempfile.TemporaryFile("w+") as output, tempfile.TemporaryFile("w+") as errors:
        began = time.perf_counter()
        process = subprocess.Popen([sys.executable, *command], stdout=output, stderr=errors, env=surroundings)
        peak = 0
        try:
            while True:
                found, status, usage = os.wait4(process.pid, os.WNOHANG)
                if found:
                    break
                peak = max(peak, sum(map(_anonymous, _family(process.pid))))
                watch(process.pid)
                time.sleep(LOOK_EVERY)
            wall = time.perf_counter() - began
            process.returncode = os.waitstatus_to_exitcode(status)
        finally:
            if process.returncode is None:
                process.kill()
                process.wait()
        output.seek(0)
        errors.seek(0)
        if process.returncode != 0:
            said = (errors.read() + output.read())[-SHOWN_ERRORS:]
            raise ProcessError(f"exit code {process.returncode} from {' '.join(command)}\n{said}")
        return Process(Cost(usage.ru_utime + usage.ru_stime, wall), peak, output.read())


def seconds_of(process: int) -> float:
    """Return the processor seconds of a running process and its finished children; 0 where the system does not tell."""
    try:
        fields = Path(f"/proc/{process}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    except OSError:
        return 0.0
    return sum(map(int, fields[11:15])) / os.sysconf("SC_CLK_TCK")


def _family(process: int) -> list[int]:
    """Return a process and all below it."""
    found = [process]
    for member in found:
        with contextlib.suppress(OSError):
            for children in Path(f"/proc/{member}/task").glob("*/children"):
                found += map(int, children.read_text(encoding="utf-8").split())
    return found


def _anonymous(process: int) -> int:
    try:
        lines = Path(f"/proc/{process}/status").read_text(encoding="utf-8").splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("RssAnon:")), 0)
