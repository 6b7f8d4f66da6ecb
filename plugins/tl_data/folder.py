"""Class folders: the name of the folder is the label of each file below it."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from pathlib import Path

from tl_data import FolderOptions
from tl_data.foreign import UNPACKING
from tl_data.labels import ClassNames, alike
from tl_data.paths import absent, printable
from tl_data.table import limited
from tlcore import DataError, DataSource, Example, Problem, nearest
from tlcore.support import SPLIT_NAMES

__all__ = ["FolderSource"]

JUNK = frozenset({"thumbs.db", "desktop.ini", "icon\r", "__macosx", "@eadir"})
"""What operating systems leave in folders, in lower case; hidden files are left out as well."""

LAYOUT = "lay it out as {0}/cat/1.jpg, {0}/dog/2.jpg, or {0}/train/cat/1.jpg, {0}/test/cat/2.jpg"


class FolderSource(DataSource):
    """Files in class folders. The input of an example is the file's path, its id the path relative to the folder."""

    def __init__(self, options: FolderOptions) -> None:
        self.options = options
        self.root = options.path
        self._names = ClassNames(options.classes)
        self._walked: dict[str, Path] = {}

    def examples(self) -> Iterator[Example | Problem]:
        """Yield each file, ordered by path; junk is left out, and what is no readable file is a problem.

        Raises:
            DataError: no such folder, a folder that cannot be read, or nothing in it that is laid out in classes.
        """
        return iter(limited(list(self._examples()), self.options.limit)) if self.options.limit else self._examples()

    def _examples(self) -> Iterator[Example | Problem]:
        if not self.root.exists():
            raise absent(self.root)
        if not self.root.is_dir():
            unpack = UNPACKING.get(self.root.suffix.lower())
            raise DataError(
                f"{self.root} is a file, not a folder",
                hint=f"unpack it ({unpack}), and give the folder that this makes"
                if unpack
                else "give its folder, or read it with `source: table`",
            )
        self._walked = {os.path.realpath(self.root): self.root}
        folders, files = self._listed(self.root)
        if not folders and not files:
            raise DataError(f"the folder {self.root} is empty", hint=LAYOUT.format(self.root))
        splits = _splits(folders)
        if splits:
            yield from self._stray(files)
            for folder, split in splits.items():
                yield from self._classes(folder, split, *self._listed(folder))
        else:
            self._refuse_half_splits(folders)
            self._refuse_wrapping(folders)
            yield from self._classes(self.root, None, folders, files)

    def _classes(
        self, parent: Path, split: str | None, folders: list[Path], files: list[Path]
    ) -> Iterator[Example | Problem]:
        if files and not folders:
            raise DataError(
                f"{parent} holds {len(files)} files but no class folders, so nothing says what they are",
                where=f"such as {self._id(files[0])}",
                hint=LAYOUT.format(self.root),
            )
        yield from self._stray(files)
        if split and not folders:
            yield Problem(self._id(parent), f"the folder of the {split} split is empty", skipped=False)
        for reason in alike(_decoded(folder.name) for folder in folders):
            yield Problem(self._id(parent), reason, skipped=False)
        for folder in folders:
            items = 0
            for item in self._below(folder):
                items += 1
                if isinstance(item, Problem):
                    yield item
                else:
                    id_ = self._id(item)
                    yield Example(id_, item, label=self._label(parent, item, id_), split=split)
            if not items:
                yield Problem(
                    self._id(folder), f"the folder of class {_decoded(folder.name)!r} is empty", skipped=False
                )

    def _label(self, parent: Path, file: Path, id_: str) -> str:
        """Return the class of a file: which of the folders between ``parent`` and it is meant, by the name it has."""
        folders = file.parts[len(parent.parts) : -1]
        parts = {"first": folders[:1], "last": folders[-1:], "path": folders}[self.options.label]
        return self._names(_decoded("/".join(parts)), id_)

    def _below(self, folder: Path) -> Iterator[Path | Problem]:
        """Walk a folder in the order of names; each real folder once, so that links in a circle end."""
        waiting = [str(folder)]  # of as many files as there are, a path of each would take memory and time
        while waiting:
            name = waiting.pop()
            path = Path(name)
            if not os.path.isdir(name):
                fault = _fault_of_file(path)
                yield Problem(self._id(path), fault) if fault else path
                continue
            real = os.path.realpath(path)
            if real in self._walked:
                reason = f"a link to a folder that is read already: {self._id(self._walked[real])}"
                yield Problem(self._id(path), reason)
                continue
            self._walked[real] = path
            waiting += (os.path.join(name, entry) for entry in reversed(_names(path)))

    def _listed(self, folder: Path) -> tuple[list[Path], list[Path]]:
        entries = _entries(folder)
        folders = [path for path in entries if os.path.isdir(path)]
        return folders, [path for path in entries if path not in set(folders)]

    def _stray(self, files: list[Path]) -> Iterator[Problem]:
        for path in files:
            yield Problem(self._id(path), "it lies in no class folder")

    def _refuse_half_splits(self, folders: list[Path]) -> None:
        """Refuse splits with something beside them: they would be read as classes that are called train and test.

        Raises:
            DataError: folders of class folders of which some are named after splits and the others are not, or all are
                and none is train.
        """
        named = [path for path in folders if path.name.casefold() in SPLIT_NAMES]
        others = [path for path in folders if path not in named]
        meant = [nearest(path.name, SPLIT_NAMES) for path in others]
        if not named or not all(self._holds_folders_only(path) for path in named):
            return
        if not others and len(named) > 1:
            raise DataError(
                f"{' and '.join(path.name for path in named)} are splits by their names, but there is no train folder",
                where=str(self.root),
                hint="put it beside them, or rename the one to train on to train",
            )
        if not others:
            return
        if len(named) > 1 or all(meant):
            raise DataError(
                f"{' and '.join(path.name for path in named)} are splits by their names, "
                f"but {printable(others[0].name)!r} beside them is none",
                where=str(self.root),
                hint=(f"did you mean {meant[0]!r}? " if meant[0] else "") + "Rename it, or move it elsewhere; "
                "splits are called train, val and test",
            )

    def _refuse_wrapping(self, folders: list[Path]) -> None:
        """Refuse a folder that holds nothing but one folder of folders, as unpacked archives do.

        Raises:
            DataError: the message names the inner folder.
        """
        if len(folders) == 1 and self.options.label == "first" and self._holds_folders_only(folders[0]):
            inner, _ = self._listed(folders[0])
            if len(inner) > 1:
                shown = ", ".join(printable(path.name) for path in inner[:5])
                wrapping = folders[0]
                is_split = wrapping.name.casefold() in SPLIT_NAMES
                raise DataError(
                    f"{self.root} holds nothing but the folder {printable(wrapping.name)!r}, which would be one class",
                    where=f"in it: {shown}{' …' * (len(inner) > 5)}",
                    hint=("give a train folder beside it, or, to split it anew," if is_split else "if it is the data,")
                    + f" write `data.path: {wrapping}`",
                )

    def _holds_folders_only(self, folder: Path) -> bool:
        folders, files = self._listed(folder)
        return bool(folders) and not files

    def _id(self, path: Path) -> str:
        return printable("/".join(path.parts[len(self.root.parts) :]) or ".")


def _decoded(name: str) -> str:
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def _splits(folders: list[Path]) -> dict[Path, str]:
    """Return the split of each folder where every one is named after a split and there is a train folder."""
    splits = {path: SPLIT_NAMES.get(path.name.casefold(), "") for path in folders}
    return splits if "train" in splits.values() and all(splits.values()) else {}


def _entries(folder: Path) -> list[Path]:
    return [folder / name for name in _names(folder)]


def _names(folder: Path) -> list[str]:
    """Return the names of what is in a folder, in order and without junk."""
    try:
        names = os.listdir(folder)
    except OSError as error:
        raise DataError(
            f"the folder {printable(str(folder))} cannot be read: {error.strerror}",
            hint="what is in it would be missing from the data; give yourself the right to read it, or take it out",
        ) from error
    return [name for name in sorted(names) if not name.startswith(".") and name.casefold() not in JUNK]


def _fault_of_file(path: Path) -> str | None:
    """Return why a path that is no folder cannot be read as a file, without opening what might never end."""
    try:
        kind = path.stat().st_mode
    except OSError as error:
        if path.is_symlink():
            circle = error.errno == errno.ELOOP
            return "a link that leads to itself" if circle else f"a broken link: {error.strerror}"
        return error.strerror or str(error)
    if not stat.S_ISREG(kind):
        return "not a regular file"
    return None if os.access(path, os.R_OK) else "no permission to read it"
