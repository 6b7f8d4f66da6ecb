"""The folder of a run: made once, never an earlier one's, and every file in it published whole."""

from __future__ import annotations

import contextlib
import csv
import datetime
import errno
import io
import json
import os
import re
import shutil
import stat
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from tlcore.contracts import Problem, Table
from tlcore.errors import UsageError
from tlcore.files.atomic import publish_file
from tlcore.redaction import redacted

__all__ = ["BEGUN", "LOCK", "RunFolder", "csv_text", "is_writable", "open_to_others", "require_free"]

BEGUN = "begun.json"
"""The file that a run has until it is finished."""
LOCK = ".running"
"""The file that the process which works on a run has locked."""
MODE = 0o775
"""Whatever the umask allows: not everybody on the machine may write into a run."""
PARTIAL = re.compile(r"\..+\.[a-z0-9_]{8}")
"""How `tlcore.files.atomic` names what is not whole yet."""
FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r", "\n", "\uff1d", "\uff0b", "\uff0d", "\uff20")
"""The last four are wide forms that some spreadsheets take for the same signs."""


def require_free(out: Path) -> None:
    """Refuse a folder that holds anything but the mark of a run that never came to write.

    Raises:
        UsageError: it exists and is not empty, or lies where nothing can be written.
    """
    if not is_writable(out.absolute()) and not out.is_file():
        raise UsageError(
            "the run's folder cannot be made",
            where=f"{out}: nothing can be written there",
            hint="name one that can be written to: --out DIR",
        )
    marks = (LOCK, ".recipe.yaml.")  # the second: what was killed while it wrote its first file
    if out.exists() and (not out.is_dir() or not all(path.name.startswith(marks) for path in out.iterdir())):
        raise UsageError(
            f"{out} exists and is not empty; a run overwrites nothing",
            hint="name another folder with --out; an unfinished run goes on with --resume",
        )


def _make(folder: Path) -> None:
    """Make a folder with those above it; that the disk is full is told as such elsewhere."""
    try:
        folder.mkdir(MODE, parents=True, exist_ok=True)
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise
        raise UsageError(
            "the run's folder cannot be made",
            where=f"{folder}: {error.strerror}",
            hint="name one that can be written to: --out DIR",
        ) from error


def is_writable(folder: Path) -> bool:
    """Say whether a folder can be made, if it is not there, and written to."""
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    return folder.is_dir() and os.access(folder, os.W_OK | os.X_OK)


def open_to_others(folder: Path) -> str | None:
    """Return who else could put something of their own in a folder's place, or into it; None where only root can."""
    if not hasattr(os, "geteuid"):  # not a Unix
        return None
    place = folder.resolve()
    for one in (place, *place.parents):
        with contextlib.suppress(OSError):
            status = one.stat()
            if status.st_mode & stat.S_IWOTH and not status.st_mode & stat.S_ISVTX:
                return f"everybody may write into {one}"
            if status.st_uid not in (0, os.geteuid()):
                return f"{one} belongs to another user ({_user(status.st_uid)})"
    return None


def _user(number: int) -> str:
    import pwd

    try:
        return pwd.getpwuid(number).pw_name
    except KeyError:
        return str(number)


class RunFolder:
    """Where one run writes."""

    def __init__(self, path: Path, *, writes: bool = True) -> None:
        self.path = path
        self.writes = writes

    @classmethod
    def made(cls, out: Path | None, parent: Path, started: datetime.datetime) -> RunFolder:
        """Return ``out``, or a new folder in ``parent`` that is named by the time.

        Raises:
            UsageError: it cannot be made, or no name was free.
        """
        _make(parent if out is None else out)
        if out is not None:
            return cls(out)
        stamp = started.strftime("%Y-%m-%dT%H-%M-%S")
        for attempt in range(1, 1000):
            folder = parent / (stamp if attempt == 1 else f"{stamp}-{attempt}")
            with contextlib.suppress(FileExistsError):
                folder.mkdir(MODE)
                return cls(folder)
        raise UsageError(f"too many runs in {parent} within one second")

    def sweep(self) -> None:
        """Remove what an earlier process was writing when it was killed."""
        for path in self.path.iterdir():
            if PARTIAL.fullmatch(path.name) is None:
                continue
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink(missing_ok=True)

    def write(self, name: str, text: str) -> None:
        """Publish a file."""
        if not self.writes:  # another process of the run does
            return
        publish_file(self.path / name, text)

    def write_json(self, name: str, value: Any) -> None:
        """Publish a value as JSON for people."""
        self.write(name, json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n")

    def write_problems(self, problems: Iterable[Problem]) -> None:
        """Publish ``problems.jsonl``: each example that was skipped or is odd, with the reason."""
        records = [{"id": found.id, "reason": found.reason, "skipped": found.skipped} for found in problems]
        self.write("problems.jsonl", "".join(json.dumps(record) + "\n" for record in records))

    def write_table(self, name: str, table: Table) -> None:
        """Publish a table as CSV."""
        self.write(f"{name}.csv", csv_text(table))

    def append(self, name: str, record: Mapping[str, Any]) -> None:
        """Add one line of JSON to a file."""
        if not self.writes:
            return
        with open(self.path / name, "a", encoding="utf-8", opener=_not_for_everybody) as file:
            file.write(redacted(json.dumps(record, allow_nan=False)) + "\n")


def _not_for_everybody(path: str, flags: int) -> int:
    return os.open(path, flags, MODE & ~0o111)


def csv_text(table: Table) -> str:
    """Return a table as CSV in which no cell is taken for a formula by a spreadsheet."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    for row in (table.columns, *table.rows):
        writer.writerow([_harmless(cell) for cell in row])
    return text.getvalue()


def _harmless(cell: Any) -> Any:
    if isinstance(cell, str) and cell.startswith(FORMULA_STARTS):
        return "'" + cell
    return cell
