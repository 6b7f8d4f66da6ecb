"""The oldest versions of libraries that are safe: older ones have known holes, or run code that comes with data."""

from __future__ import annotations

import re
from importlib import metadata
from itertools import zip_longest

from tlcore.errors import UsageError

__all__ = ["FLOORS", "require_floors"]

FLOORS = {"torch": "2.10", "transformers": "5.3", "pillow": "12.2", "datasets": "4.0"}


def require_floors() -> None:
    """Refuse to work with libraries that are too old; only what their metadata says is looked at.

    Raises:
        UsageError: a version below its floor, with the line that mends all of them.
    """
    found = {name: version for name in FLOORS if (version := _installed(name)) is not None}
    old = {name: version for name, version in found.items() if _numbers(version) < _numbers(FLOORS[name])}
    if old:
        wanted = " ".join(f"'{name}>={FLOORS[name]}'" for name in old)
        raise UsageError(
            "a library is too old to be safe" if len(old) == 1 else "libraries are too old to be safe",
            where="\n".join(f"{name} {version}, needed is {FLOORS[name]} or newer" for name, version in old.items()),
            hint=f"python -m pip install --upgrade {wanted}",
        )


def _installed(name: str) -> str | None:
    """Return a version; None where nothing says it, since importing the library will tell that it is absent."""
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _numbers(version: str) -> list[int]:
    """Return the numbers that a version begins with, so that 2.9 is below 2.10; what follows them does not count."""
    numbers = re.match(r"v?(?:\d+!)?(\d+(?:\.\d+)*)", version or "")
    found = [int(number) for number in numbers[1].split(".")] if numbers else []
    return [number for number, _ in zip_longest(found, range(4), fillvalue=0)]
