"""What a measurement ran on, and how a whole process is timed."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
import time
from collections.abc import Sequence
from importlib import metadata

__all__ = ["described", "timed"]


def described() -> str:
    """Return processor, cores and versions in one line."""
    model = platform.processor() or platform.machine()
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            model = next((line.split(":", 1)[1].strip() for line in file if line.startswith("model name")), model)
    except OSError:
        pass
    versions = ", ".join(f"{name} {metadata.version(name)}" for name in ("torch", "torchvision", "tlcore"))
    return f"{model}, {os.cpu_count()} cores, Python {platform.python_version()}, {versions}"


def timed(command: Sequence[str]) -> tuple[float, str]:
    """Return the wall seconds of a whole process, start included, and its standard output."""
    began = time.perf_counter()
    done = subprocess.run([sys.executable, *command], stdout=subprocess.PIPE, text=True, check=True)
    return time.perf_counter() - began, done.stdout
