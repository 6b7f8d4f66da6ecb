"""Weights that somebody brought by hand: checked, and put where runs look for what they would fetch."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from tlcore.errors import UsageError, WeightsError
from tlcore.files.atomic import publish_copy, publish_file
from tlcore.files.digests import file_digest
from tlcore.files.disk import cache_folder
from tlcore.weights.lock import LockedFile
from tlcore.weights.sources import NOTHING_ELSE

__all__ = ["add_file", "add_repository"]

DIGEST_IN_NAME = re.compile(r"-([0-9a-f]{8,64})\.\w+$")
"""How torch writes the beginning of the SHA-256 into the names of its files."""
LONGEST_NAME = 200
COMMIT = re.compile(r"[0-9a-f]{40}")


def add_file(file: Path, published_as: str | None, digest: str | None, locked: Sequence[LockedFile]) -> Path:
    """Put a file that is fetched from a URL elsewhere into the cache, and return where.

    ``published_as`` is its name or URL where it has been renamed. What it must be is said by ``digest``, by a lock
    file, or by its name.

    Raises:
        UsageError: nothing says what the file must be.
        WeightsError: it is another file.
    """
    name = (published_as or file.name).rsplit("/", 1)[-1]
    if name in ("", ".", "..") or "\\" in name or not name.isprintable() or len(name.encode()) > LONGEST_NAME:
        raise UsageError(f"--as: {published_as!r} ends in no file name", hint="give the file's name, or its URL")
    if digest is not None and not re.fullmatch("[0-9a-fA-F]{64}", digest):
        raise UsageError(f"--sha256: {digest!r} is no SHA-256", hint="it has 64 characters from 0 to 9 and a to f")
    in_name = DIGEST_IN_NAME.search(name)
    claims = [
        {digest.lower()} if digest else set(),
        {in_name[1]} if in_name else set(),
        {one.sha256 for one in locked if one.path.name == name},
    ]
    found = file_digest(file)
    if not any(claims):
        raise UsageError(
            f"nothing says what {name} should be",
            where=f"its SHA-256 is {found}",
            hint="compare it with what the publisher says, then add it with --sha256; or name the file in "
            "`backbone.weights` as it is",
        )
    for wanted in claims:
        _require(name, file, found, wanted)
    target = cache_folder() / "weights" / name
    target.parent.mkdir(parents=True, exist_ok=True)
    publish_copy(target, file, found)
    return target


def add_repository(folder: Path, repository: str, locked: Sequence[LockedFile]) -> Path:
    """Put the folder of a checkpoint into the hub's cache under its name there, and return where.

    With a lock file only those of its files are taken that it lists, each as it was, and the commit is the one that it
    says. Without one the folder is taken as it is, under a commit made from its content.

    Raises:
        UsageError: this is no name of the hub, or another commit of it lies in the cache.
        WeightsError: no checkpoint, or a file is absent or another one than the lock lists.
    """
    from huggingface_hub import constants
    from huggingface_hub.errors import HFValidationError
    from huggingface_hub.file_download import repo_folder_name
    from huggingface_hub.utils import validate_repo_id

    try:
        validate_repo_id(repository)
    except HFValidationError as error:
        raise UsageError(
            f"--as: {repository!r} is no name on the hub",
            hint="write it as the hub does, such as google-bert/bert-base-uncased",
        ) from error
    commit, files = _locked(folder, repository, locked) if locked else _as_it_is(folder)
    if "config.json" not in files:
        raise WeightsError(
            "this is no checkpoint: it has no config.json",
            where=str(folder),
            hint="give the folder with config.json, tokenizer.json and model.safetensors",
        )
    kept = Path(constants.HF_HUB_CACHE) / repo_folder_name(repo_id=repository, repo_type="model")
    main = kept / "refs" / "main"
    if main.is_file() and (present := main.read_text("utf-8").strip()) != commit:
        raise UsageError(
            f"{repository} is on this machine already, at commit {present[:12]}",
            where=str(kept),
            hint="runs use that one; delete that folder to bring another",
        )
    target = kept / "snapshots" / commit
    for name, digest in files.items():
        (target / name).parent.mkdir(parents=True, exist_ok=True)
        publish_copy(target / name, folder / name, digest)
    for marker, content in ((kept / ".no_exist" / commit / NOTHING_ELSE, ""), (main, commit)):
        marker.parent.mkdir(parents=True, exist_ok=True)
        publish_file(marker, content)
    return target


def _as_it_is(folder: Path) -> tuple[str, Mapping[str, str]]:
    inside = {path.relative_to(folder): path for path in folder.rglob("*") if path.is_file()}
    visible = [name for name in inside if not any(part.startswith(".") for part in name.parts)]
    files = {name.as_posix(): file_digest(inside[name]) for name in visible}
    return hashlib.sha256(repr(sorted(files.items())).encode()).hexdigest()[:40], files


def _locked(folder: Path, repository: str, locked: Sequence[LockedFile]) -> tuple[str, Mapping[str, str]]:
    origin = re.compile(rf"hub {re.escape(repository)}@({COMMIT.pattern})")
    commits = {found[1] for one in locked if (found := origin.fullmatch(one.origin))}
    if len(commits) != 1:
        raise UsageError(
            f"the lock file lists no commit of {repository}" if not commits else "the lock file lists several commits",
            where=f"it lists: {', '.join(sorted({one.origin for one in locked})) or 'nothing'}",
            hint="leave --lock out to take the folder as it is",
        )
    commit = commits.pop()
    files: dict[str, str] = {}
    for one in locked:
        if origin.fullmatch(one.origin):
            parts = one.path.parts
            name = "/".join(parts[len(parts) - parts[::-1].index(commit) :]) if commit in parts else one.path.name
            if ".." in name.split("/"):
                raise WeightsError(f"refused: the lock file names {name!r}", where=str(one.path))
            if not (folder / name).is_file():
                raise WeightsError(f"the lock file lists {name}, which is not in the folder", where=str(folder))
            _require(name, folder / name, file_digest(folder / name), {one.sha256})
            files[name] = one.sha256
    return commit, files


def _require(name: str, file: Path, found: str, wanted: set[str]) -> None:
    if wanted and not any(found.startswith(digest) for digest in wanted):
        raise WeightsError(
            f"{name} is not the file that was meant: SHA-256 {found[:16]}…, expected {min(wanted)[:16]}…",
            where=str(file),
            hint="fetch it again from a place that you trust",
        )
