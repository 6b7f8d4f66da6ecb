"""Names of files and folders: which one was meant, and how a name is printed whatever bytes it holds."""

from __future__ import annotations

import re
from pathlib import Path

from tlcore import DataError
from tlcore.support import nearest_file

__all__ = ["absent", "printable"]

SCHEME = re.compile(r"[a-z][a-z0-9+.-]+:", re.IGNORECASE)
"""What an address begins with, such as ``https:``; paths have one letter there at most."""


def absent(path: Path) -> DataError:
    """Return the refusal of a path that does not exist, with the nearest name beside the first part that is missing."""
    if path.is_symlink():
        return DataError(
            f"{path} is a broken link",
            where=f"it leads to {printable(str(path.readlink()))}",
            hint="put there what it leads to, or name another path",
        )
    missing = path.absolute()
    while not missing.parent.exists():
        missing = missing.parent
    if SCHEME.fullmatch(missing.name):
        address = f"{missing.name}//{path.absolute().relative_to(missing)}"
        return DataError(
            f"{address} is an address, not a path of this machine",
            hint="fetch it, and name where it lies: `--set data.path=PATH`; data sets of the hub are `source: hub`",
        )
    try:
        beside = [entry.name for entry in missing.parent.iterdir()]
    except OSError:
        beside = []
    meant = nearest_file(missing.name, beside)
    return DataError(
        f"{path} does not exist",
        where=f"{missing.parent} holds no {missing.name!r}",
        hint=f"did you mean {str(missing.parent / meant)!r}?"
        if meant
        else "name what is there: `--set data.path=PATH`",
    )


def printable(name: str) -> str:
    """Return a name that can be printed and stored, different for different names.

    Control characters and bytes that are no UTF-8 (surrogates, as Python reads them) become backslash escapes.
    """
    if name.isprintable() and "\\" not in name:
        return name
    return "".join(
        letter if letter.isprintable() and letter != "\\" else letter.encode("unicode_escape").decode()
        for letter in name
    )
