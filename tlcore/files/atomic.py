"""Publish, never overwrite: a thing is visible only when it is whole, and is read only if its manifest agrees."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO

from tlcore.errors import WeightsError
from tlcore.files.digests import file_digest
from tlcore.files.untrusted import read_object
from tlcore.redaction import redacted

__all__ = ["MANIFEST", "publish_copy", "publish_file", "publish_folder", "verify_folder"]

MANIFEST = "manifest.json"
COPIED_AT_ONCE = 2**20


def publish_file(path: Path, content: str | bytes) -> None:
    """Write a file so that a reader sees the old one or the new one, whole, also after a kill.

    A text is written without secrets.
    """
    with _published(path) as file:
        file.write(redacted(content).encode("utf-8", "backslashreplace") if isinstance(content, str) else content)


def publish_copy(path: Path, source: Path, sha256: str) -> None:
    """Copy a file of any size, if what was copied has this digest, so that a reader sees nothing or all of it.

    Raises:
        WeightsError: the copy has another digest; nothing is left of it.
    """
    copied = hashlib.sha256()
    with _published(path) as file, source.open("rb") as original:
        while block := original.read(COPIED_AT_ONCE):
            copied.update(block)
            file.write(block)
        if copied.hexdigest() != sha256:
            raise WeightsError(f"{source.name} changed while it was copied", where=str(source), hint="copy it again")


@contextlib.contextmanager
def _published(path: Path) -> Iterator[BinaryIO]:
    handle, partial = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name[:40]}.")
    try:
        with os.fdopen(handle, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.chmod(partial, 0o644)
        os.replace(partial, path)
    except BaseException:
        Path(partial).unlink(missing_ok=True)
        raise
    _sync_folder(path.parent)


def publish_folder(target: Path, fill: Callable[[Path], None], about: dict[str, Any] | None = None) -> None:
    """Make the folder ``target``, which must not exist, from what ``fill`` writes into a temporary one beside it.

    The manifest (size and SHA-256 of each file, and ``about``) is written last, then the folder is renamed.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = Path(tempfile.mkdtemp(dir=target.parent, prefix=f".{target.name}."))
    try:
        fill(partial)
        files = sorted(path for path in partial.rglob("*") if path.is_file())
        listing = {
            path.relative_to(partial).as_posix(): {"bytes": path.stat().st_size, "sha256": file_digest(path)}
            for path in files
        }
        for path in files:
            _sync_file(path)
        for folder in {path.parent for path in files}:
            _sync_folder(folder)
        publish_file(partial / MANIFEST, json.dumps({**(about or {}), "files": listing}, indent=2))
        os.chmod(partial, 0o755)  # noqa: S103 - mkdtemp made it private; a run folder is for others to read
        os.rename(partial, target)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise
    _sync_folder(target.parent)


def verify_folder(folder: Path) -> dict[str, Any]:
    """Return the manifest of a published folder after checking every file that it lists; there may be no others.

    Hidden files, which some systems leave in any folder, are passed over.

    Raises:
        WeightsError: no manifest, or a file that is missing, of another size or content, or not listed.
    """
    try:
        manifest = read_object(folder / MANIFEST)
        listing = {
            str(name): (int(entry["bytes"]), str(entry["sha256"])) for name, entry in dict(manifest["files"]).items()
        }
    except (WeightsError, ValueError, KeyError, TypeError, OverflowError) as error:
        raise WeightsError(
            f"{folder} holds no readable {MANIFEST}: it was not finished by tlcore", where=_first_line(error)
        ) from error
    for name, (size, digest) in listing.items():
        path = _inside(folder, name)
        if not path.is_file() or path.stat().st_size != size or file_digest(path) != digest:
            raise WeightsError(
                f"{name} is missing or was changed since it was written",
                where=str(folder),
                hint="copy the folder again from where it was made, or repeat the run",
            )
    present = (path.relative_to(folder) for path in folder.rglob("*") if not path.is_dir())
    visible = (path.as_posix() for path in present if not any(part.startswith(".") for part in path.parts))
    if extra := sorted(set(visible) - {*listing, MANIFEST}):
        raise WeightsError(
            f"refused: the folder holds {extra[0]!r}, which its {MANIFEST} does not list",
            where=str(folder),
            hint="take it out, or copy the folder again from where it was made",
        )
    return manifest


def _inside(folder: Path, name: str) -> Path:
    """Return the path of a file that a manifest lists.

    Raises:
        WeightsError: it leads out of the folder, or cannot be a path.
    """
    with contextlib.suppress(ValueError, OSError, RuntimeError):  # a NUL, a name too long, links in a circle
        path = (folder / name).resolve()
        path.is_file()  # asked here, where a name that no file can have is not a surprise
        if path.is_relative_to(folder.resolve()):
            return path
    raise WeightsError(f"refused: {name!r} points outside the folder", where=str(folder / MANIFEST))


def _first_line(error: Exception) -> str:
    return next(iter(str(error).splitlines()), type(error).__name__)


def _sync_file(path: Path) -> None:
    with path.open("rb") as file:
        os.fsync(file.fileno())


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
