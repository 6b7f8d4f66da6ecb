"""Every refusal that a user can meet: one line for what, one for where, one for the next step.

The exit code of each kind is part of the command line's contract. Only the standard library is imported here.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePath
from typing import Any

from tlcore.redaction import redacted

__all__ = [
    "DataError",
    "Interrupted",
    "LostError",
    "NumericError",
    "PluginError",
    "RecipeError",
    "RecipeFault",
    "RecipeWarning",
    "ResourceError",
    "TLError",
    "UnreadableError",
    "UsageError",
    "WeightsError",
    "is_out_of_memory",
    "nearest",
    "nearest_file",
]

OUT_OF_MEMORY = (
    "out of memory", "can't allocate memory", "not enough memory", "std::bad_alloc", "_STATUS_ALLOC_FAILED",
)  # fmt: skip
FAULTS_SHOWN = 100
LETTERS_SHOWN = 500
"""What a message shows of a recipe that has thousands of faults, or names of thousands of letters."""


class TLError(Exception):
    """A refusal with a message for people; never shown with a traceback."""

    exit_code = 1

    def __init__(self, what: str, *, where: str | None = None, hint: str | None = None) -> None:
        # An error may quote anything: an address with a password, a header, what a library says of both.
        self.what = redacted(what)
        self.where = redacted(where) if where is not None else None
        self.hint = redacted(hint) if hint is not None else None
        super().__init__(self.what)

    def __str__(self) -> str:
        return "\n".join(line for line in (self.what, self.where, self.hint) if line)


class UsageError(TLError):
    """A command or a combination of settings that cannot work here, such as CUDA on a machine without it."""

    exit_code = 2


class DataError(TLError):
    """Data that cannot be used: no file, one class, too many unreadable examples."""

    exit_code = 3


class WeightsError(TLError):
    """Weights or an artifact that are absent, unreachable or not what they claim to be."""

    exit_code = 4


class ResourceError(TLError):
    """Out of disk or memory."""

    exit_code = 5


class NumericError(TLError):
    """A value that is not finite, met before it could reach the weights."""

    exit_code = 6


class LostError(TLError):
    """Another process of the same run is gone or does not answer; why, its own message or the launcher tells."""

    exit_code = 7


class PluginError(TLError):
    """A plugin that is needed and cannot be used, or two plugins that claim one name."""

    exit_code = 8


class Interrupted(TLError):
    """The user stopped the run."""

    exit_code = 130


@dataclass(frozen=True)
class RecipeFault:
    """One thing that is wrong with a recipe, where it stands and what to write instead."""

    where: str
    what: str
    hint: str | None = None

    def __str__(self) -> str:
        what, half = self.what, LETTERS_SHOWN // 2
        what = what if len(what) <= LETTERS_SHOWN else f"{what[:half]}…{what[-half:]}"
        return f"{self.where}: {what}" + (f"; {self.hint}" if self.hint else "")


class RecipeError(TLError):
    """All faults of a recipe at once; ``readable`` has those of its keys that are as they should be."""

    exit_code = 2

    def __init__(
        self, faults: Sequence[RecipeFault], next_step: str | None = None, readable: Mapping[str, Any] | None = None
    ) -> None:
        self.faults = tuple(faults)
        self.readable = readable or {}
        count = "1 fault" if len(self.faults) == 1 else f"{len(self.faults)} faults"
        lines = [str(fault) for fault in self.faults[:FAULTS_SHOWN]]
        lines += [f"… and {len(self.faults) - FAULTS_SHOWN} more"] if len(self.faults) > FAULTS_SHOWN else []
        super().__init__(f"the recipe has {count}", where="\n".join(lines), hint=next_step)


class RecipeWarning(UserWarning):
    """Something that is allowed but probably not meant; ``warnings.warn`` it, and the run lists it among its notes."""


class UnreadableError(Exception):
    """Raised by a backbone's ``prepare`` for an example that cannot be read; the reason is the message.

    The run skips the example and lists it in ``problems.jsonl``; it never puts another in its place.
    """


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether an exception means that memory is exhausted; torch says so in errors of its own."""
    return isinstance(error, MemoryError) or any(words in str(error) for words in OUT_OF_MEMORY)


def nearest(word: str, known: Iterable[str]) -> str | None:
    """Return the known name that ``word`` most likely meant, or None."""
    names = {name.casefold(): name for name in known}
    close = difflib.get_close_matches(word.casefold(), list(names), n=1, cutoff=0.6)
    return names[close[0]] if close else None


def nearest_file(name: str, known: Iterable[str]) -> str | None:
    """Return the known file's name that ``name`` most likely meant, or None.

    An ending that both share says nothing, and another ending is meant only where all else is the same.
    """
    given = PurePath(name)
    files = [PurePath(file) for file in known]
    same = sorted(file.name for file in files if file.stem.casefold() == given.stem.casefold())
    alike = {file.stem: file.name for file in files if file.suffix.casefold() == given.suffix.casefold()}
    meant = nearest(given.stem, alike)
    return alike[meant] if meant is not None and not same else next(iter(same), None)
