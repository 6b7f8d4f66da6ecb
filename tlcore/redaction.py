"""Secrets are kept out of what is written or printed: those of the environment, and what looks like one."""

from __future__ import annotations

import os
import re

__all__ = ["looks_secret", "redacted"]

STARS = "***"
SHORTEST = 8
SECRET_NAME = re.compile(
    r"(?:^|[_-])(?:api_?key|access_?key|private_?key|secret(?:_?key)?|token|password|passwd|passphrase|credentials?)$",
    re.IGNORECASE,
)
"""Names of variables and keys whose value nobody should read. ``num_tokens`` is none, and PLAIN are none."""
PLAIN = re.compile(r"(?:^|[_-])(?:cls|sep|pad|mask|unk|bos|eos|max|special)_token$", re.IGNORECASE)
SHAPES = (
    (re.compile(r"(?<=://)[^\s/@:\"'<>]*:[^\s/@\"'<>]+(?=@)"), STARS),
    (re.compile(r"\b(bearer)\s+(?=[^\s\"']*\d)[\w.~+/=-]{8,}", re.IGNORECASE), rf"\1 {STARS}"),
    (re.compile(r"\b(?:hf_|gh[pousr]_|glpat-|xox[abprs]-|sk-)[A-Za-z0-9_-]{20,}|\bAKIA[0-9A-Z]{16}\b"), STARS),
)
"""Names and passwords in addresses, bearer tokens, and the tokens that well-known services give out."""


def redacted(text: str) -> str:
    """Return a text with stars in the place of secrets."""
    for secret in _held():
        text = text.replace(secret, STARS)
    for shape, stars in SHAPES:
        text = shape.sub(stars, text)
    return text


def looks_secret(text: str, key: str = "") -> bool:
    """Say whether a value that somebody wrote down is a secret: by itself, or because its key says so.

    A key that speaks of a secret is not enough: the value must be long, in one piece, of letters and digits.
    """
    if redacted(text) != text:
        return True
    named = SECRET_NAME.search(key) is not None and PLAIN.search(key) is None
    mixed = any(map(str.isdigit, text)) and any(map(str.isalpha, text))
    return named and mixed and len(text) >= SHORTEST and not any(map(str.isspace, text))


def _held() -> list[str]:
    """Return the secrets of the environment, the longest first; what is a file's path is none."""
    found = {
        value
        for name, value in os.environ.items()
        if len(value) >= SHORTEST and SECRET_NAME.search(name) and not PLAIN.search(name) and not os.path.exists(value)
    }
    return sorted(found, key=len, reverse=True)
