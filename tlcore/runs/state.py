"""A run that has not ended: what it began with, who is at it, and what its finished epochs were.

``begun.json`` is in a run's folder from its start until all is written: first where the run began, and before the first
training step also with what. A folder without it is finished, or nothing of it is worth going on with.
"""

from __future__ import annotations

import contextlib
import datetime
import json
import os
import shlex
import socket
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from tlcore.errors import UsageError, WeightsError
from tlcore.files.atomic import publish_file
from tlcore.files.run_folder import BEGUN, LOCK
from tlcore.files.untrusted import read_object, read_records

__all__ = [
    "begin",
    "begun_with",
    "differences",
    "end",
    "finished_epochs",
    "owned",
    "require_unfinished",
]

SHOWN = 60


@contextlib.contextmanager
def owned(folder: Path) -> Iterator[None]:
    """Hold a run's folder, so that no other process writes there; the hold dies with this process.

    Raises:
        UsageError: another process holds it; the message says which.
    """
    path = folder / LOCK
    with contextlib.ExitStack() as held:
        try:
            # A soft lock would outlive a process that is killed.
            held.enter_context(FileLock(path, mode=0o644, blocking=False, fallback_to_soft=False))
        except Timeout:
            raise UsageError(
                f"{folder} belongs to a run that is still going on",
                where=_owner(path),
                hint="wait for it, or end it first",
            ) from None
        except OSError:  # a disk without locks; if it cannot be written to either, the next line says so
            pass
        started = datetime.datetime.now().astimezone().isoformat(timespec="seconds")
        path.write_text(f"process {os.getpid()} on {socket.gethostname()}, since {started}", "utf-8")
        yield
        path.unlink(missing_ok=True)


def _owner(path: Path) -> str:
    owner = ""
    with contextlib.suppress(OSError):  # it may have ended meanwhile
        owner = path.read_text("utf-8", "replace")
    return owner or "another process"


def require_unfinished(folder: Path) -> None:
    """Refuse to go on with what cannot be gone on with.

    Raises:
        UsageError: there is no run in this folder, or a finished one.
    """
    if not (folder / "recipe.yaml").is_file():
        raise UsageError(
            f"{folder} holds no run", where="no recipe.yaml is there", hint="start it: tl run RECIPE --out FOLDER"
        )
    if (folder / "manifest.json").is_file() and not (folder / BEGUN).is_file():
        raise UsageError(
            f"the run in {folder} is finished",
            hint=f"look at {folder / 'report.html'}; `tl reproduce {shlex.quote(str(folder))}` runs it again",
        )


def begin(folder: Path, identity: Mapping[str, Any]) -> None:
    """Write down what a run begins with."""
    publish_file(folder / BEGUN, json.dumps(identity, indent=2, ensure_ascii=False))


def begun_with(folder: Path) -> dict[str, Any] | None:
    """Return what a run began with; None where it had not come so far.

    Raises:
        WeightsError: the file is damaged.
    """
    path = folder / BEGUN
    if not os.path.lexists(path):
        return None
    with contextlib.suppress(WeightsError):
        found = read_object(path)
        paths = [found.get("place", ""), found.get("lock") or ""]
        sound = all(isinstance(one, str) and "\0" not in one for one in paths)
        threads = found.get("threads", [])
        sound = sound and isinstance(threads, list) and all(type(count) is int for count in threads)
        if sound and isinstance(found.get("identity", {}), dict):
            return found
    raise WeightsError(f"{BEGUN} is damaged", where=str(path), hint="start a new run")


def end(folder: Path) -> None:
    """Mark a run as finished."""
    (folder / BEGUN).unlink(missing_ok=True)


def differences(before: Mapping[str, Any], now: Mapping[str, Any], prefix: str = "") -> list[str]:
    """Return a line for each thing in which a run would go on with something else."""
    found = []
    for key in sorted(before.keys() | now.keys()):
        theirs, ours = before.get(key), now.get(key)
        if isinstance(theirs, Mapping) and isinstance(ours, Mapping):
            found += differences(theirs, ours, f"{prefix}{key}.")
        elif theirs != ours:
            found.append(f"{prefix}{key}: {_short(theirs)} before, {_short(ours)} now")
    return found


def _short(value: Any) -> str:
    text = "nothing" if value is None else value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= SHOWN else f"{text[: SHOWN - 1]}…"


def finished_epochs(folder: Path, count: int) -> list[dict[str, Any]]:
    """Return the records of the first epochs of ``history.jsonl``.

    Raises:
        WeightsError: they are not all there.
    """
    path = folder / "history.jsonl"
    records: list[dict[str, Any]] = []
    with contextlib.suppress(WeightsError):
        records = read_records(path, count)
    if len(records) != count or any(record.get("epoch") != n for n, record in enumerate(records, 1)):
        raise WeightsError(
            f"history.jsonl does not have the {count} epochs that the checkpoint has behind it",
            where=str(path),
            hint="start a new run",
        )
    return records
