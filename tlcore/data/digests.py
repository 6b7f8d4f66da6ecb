"""What an example is, apart from its name: a digest of its content."""

from __future__ import annotations

import hashlib
import json
import os
import stat
from pathlib import Path
from typing import Any

from tlcore.errors import UnreadableError

__all__ = ["content_digest"]


def content_digest(content: Any) -> str:
    """Return the SHA-256 of an input: a file's bytes, bytes, a text, or numbers, lists and mappings of them.

    Raises:
        UnreadableError: the file cannot be read, or the input is of a type that has no stable content.
    """
    if isinstance(content, Path):
        return _file_content(content)
    if isinstance(content, bytes):
        return _tagged(b"bytes", content)
    if isinstance(content, str):
        return _tagged(b"text", content.encode("utf-8", "surrogatepass"))
    if _is_array(content):
        return _tagged(f"array {content.dtype} {tuple(content.shape)}".encode(), content.tobytes())
    try:
        return _tagged(b"json", json.dumps(content, sort_keys=True, separators=(",", ":")).encode())
    except (TypeError, ValueError, RecursionError):
        raise UnreadableError(
            f"an input of type {type(content).__name__} has no content that can be compared; "
            "give a path, bytes, a text, an array, or numbers"
        ) from None


def _is_array(content: Any) -> bool:
    """Say whether the bytes of an array are its content; where it holds objects, they are where these happen to lie."""
    has_all = hasattr(content, "tobytes") and hasattr(content, "shape") and hasattr(content, "dtype")
    return has_all and not getattr(content.dtype, "hasobject", False)


def _file_content(path: Path) -> str:
    try:
        try:
            regular = stat.S_ISREG(os.stat(path).st_mode)
        except (FileNotFoundError, NotADirectoryError, ValueError):  # also a name that no file can have
            raise UnreadableError("no such file") from None
        if not regular:  # a pipe or a device, which would never end
            raise UnreadableError("not a regular file")
        digest = hashlib.sha256(b"bytes\0")
        with path.open("rb", buffering=0) as file:
            while block := file.read(2**20):
                digest.update(block)
        return digest.hexdigest()
    except OSError as error:
        raise UnreadableError(error.strerror or str(error)) from error


def _tagged(kind: bytes, raw: bytes) -> str:
    return hashlib.sha256(kind + b"\0" + raw).hexdigest()
