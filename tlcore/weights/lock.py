"""A lock file: which files of weights a recipe needs, with size and SHA-256, so that a change in one is noticed."""

from __future__ import annotations

import json
import stat
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from tlcore.errors import UsageError, WeightsError
from tlcore.files.atomic import publish_file
from tlcore.files.digests import file_digest
from tlcore.files.untrusted import read_object
from tlcore.notes import note
from tlcore.weights.sources import FileUse

__all__ = [
    "LOCK_SUFFIX",
    "RECIPE_SUFFIXES",
    "LockedFile",
    "lock_beside",
    "lock_of",
    "read_lock",
    "verify_used",
    "write_lock",
]

FORMAT = 1
LOCK_SUFFIX = ".lock.json"
RECIPE_SUFFIXES = (".yaml", ".yml")


@dataclass(frozen=True)
class LockedFile:
    """A file of weights as it was when it was locked."""

    path: Path
    origin: str
    size: int
    sha256: str

    def fault(self) -> str | None:
        """Return why the file is not what was locked: absent, or changed; None where it is the same."""
        try:
            state = self.path.stat()
            if not stat.S_ISREG(state.st_mode):
                return "changed: it is no file"
            if state.st_size != self.size:
                return f"changed: {state.st_size:,} bytes, not {self.size:,}"
            found = file_digest(self.path)
        except (OSError, ValueError) as error:  # the latter: a NUL in its path
            return f"missing: {error.strerror if isinstance(error, OSError) else error}"
        return None if found == self.sha256 else f"changed: SHA-256 {found[:16]}…, not {self.sha256[:16]}…"


def lock_beside(recipe: Path) -> Path:
    """Return where the lock file of a recipe lies."""
    return recipe.with_name(recipe.stem + LOCK_SUFFIX)


def write_lock(path: Path, files: Iterable[FileUse]) -> list[LockedFile]:
    """Write a lock file for these files and return what stands in it."""
    locked = [
        LockedFile(use.path.absolute(), use.origin, use.path.stat().st_size, file_digest(use.path)) for use in files
    ]
    entries = [{"path": str(one.path), "origin": one.origin, "size": one.size, "sha256": one.sha256} for one in locked]
    publish_file(path, json.dumps({"format": FORMAT, "files": entries}, indent=2) + "\n")
    return locked


def lock_of(file: Path) -> Path:
    """Return the lock file that is meant by a recipe, or by itself."""
    return lock_beside(file) if file.suffix.lower() in RECIPE_SUFFIXES else file


def read_lock(path: Path) -> list[LockedFile]:
    """Return what a lock file lists.

    Raises:
        UsageError: there is no such file.
        WeightsError: it is no lock file of this format.
    """
    if not path.is_file():
        raise UsageError(f"there is no lock file {path}", hint="`tl weights pull RECIPE` writes one")
    try:
        found = read_object(path)
        if found["format"] != FORMAT:
            raise ValueError(f"format {found['format']}")
        return [
            LockedFile(Path(one["path"]), str(one["origin"]), int(one["size"]), str(one["sha256"]))
            for one in found["files"]
        ]
    except (WeightsError, ValueError, KeyError, TypeError, OverflowError) as error:
        raise WeightsError(
            f"{path.name} is no lock file: {type(error).__name__}: {next(iter(str(error).splitlines()), '')[:200]}",
            where=str(path),
            hint="write it again: `tl weights pull`",
        ) from error


def verify_used(lock: Path, used: Iterable[FileUse]) -> None:
    """Check the files of weights that a run has read against a lock file, by their names, wherever they lie.

    Files of one name, as in the folders of a checkpoint, are each one of those that the lock lists under it. A file
    that the lock does not list, such as one that ``--set`` names, is noted.

    Raises:
        WeightsError: one of them is another file than the lock lists.
    """
    locked: dict[str, set[str]] = defaultdict(set)
    for one in read_lock(lock):
        locked[one.path.name].add(one.sha256)
    faults = []
    for use in used:
        if use.path.name not in locked:
            note(f"the weights {use.path} are not among those that {lock.name} locks")
        elif file_digest(use.path) not in locked[use.path.name]:
            faults.append(f"{use.path}: another file than the lock lists ({use.origin})")
    if faults:
        raise WeightsError(
            f"the weights are not those that {lock.name} locks",
            where="\n".join(faults),
            hint=f"bring the locked ones back; or delete {lock.name}, or lock what is there now with `tl weights pull`",
        )
