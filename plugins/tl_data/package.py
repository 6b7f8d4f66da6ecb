"""Tables and class folders that an installed package ships, found by its records; the package is never imported."""

from __future__ import annotations

import re
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

from tl_data import FolderOptions, PackageOptions
from tl_data.folder import FolderSource
from tl_data.table import Part, examples_of, read_parts
from tlcore import DataError, DataSource, Example, Problem, UsageError, nearest

__all__ = ["PackageSource"]

SHOWN_FILES = 12


class PackageSource(DataSource):
    """Class folders of a distribution, or the rows of its files that match a pattern, in the order of their paths."""

    def __init__(self, options: PackageOptions) -> None:
        self.options = options

    def examples(self) -> Iterator[Example | Problem]:
        """Yield each row or picture; see ``tl_data.table.TableSource`` and ``tl_data.folder.FolderSource``.

        Raises:
            DataError: the package is not installed, has no such file, or one that cannot be read as a table.
        """
        options = self.options
        if options.folder is not None:
            folder = FolderOptions(
                path=_folder(options.package, options.folder), limit=options.limit, classes=options.classes
            )
            return FolderSource(folder).examples()
        parts = [Part(path) for path in _files(options.package, options.file or "")]
        return examples_of(read_parts(parts, options), options)


def _recorded(package: str) -> list[metadata.PackagePath]:
    if not package:
        raise UsageError("the name of a package is needed", where="data.package")
    try:
        return sorted(metadata.files(package) or [])
    except metadata.PackageNotFoundError:
        raise _not_installed(package) from None


def _folder(package: str, folder: str) -> Path:
    """Return where a folder of a package lies, from the files that are recorded below it."""
    recorded = _recorded(package)
    wanted = folder.strip("/")
    found = {
        parent.as_posix(): Path(str(file.locate())).parents[len(file.parts) - len(parent.parts) - 1]
        for file in recorded
        for parent in file.parents
        if f"/{parent.as_posix()}".endswith(f"/{wanted}")
    }
    if len(found) == 1 or wanted in found:
        return found.get(wanted) or next(iter(found.values()))
    if found:
        raise DataError(
            f"several folders of {package} end with {folder!r}: {', '.join(sorted(found)[:SHOWN_FILES])}",
            where="data.folder",
            hint=f"write more of the path, such as {min(found)!r}",
        )
    folders = sorted({parent.as_posix() for file in recorded for parent in file.parents if parent.as_posix() != "."})
    meant = nearest(wanted, folders)
    raise DataError(
        f"{package} {metadata.version(package)} has no folder {folder!r}",
        where=f"its folders: {', '.join(folders[:SHOWN_FILES])}",
        hint=f"did you mean {meant!r}?" if meant else "write the end of its path, such as `data/pictures`",
    )


def _files(package: str, pattern: str) -> list[Path]:
    if not pattern:
        raise UsageError("the end of a file's path is needed", where="data.file")
    recorded = _recorded(package)
    version = metadata.version(package)
    paths = {str(file): Path(str(file.locate())) for file in recorded if file.match(pattern)}
    present = [path for path in paths.values() if path.is_file()]
    if present:
        return present
    if paths:
        raise DataError(
            f"{package} {version} records {next(iter(paths))}, which is gone",
            hint=f'install it again: pip install --force-reinstall "{package}"',
        )
    raise _no_such_file(f"{package} {version}", pattern, [str(file) for file in recorded])


def _not_installed(package: str) -> DataError:
    names = {str(found.name) for found in metadata.distributions() if found.name}
    meant = nearest(package, names)
    demo = {_normal(need) for need in metadata.requires("tlcore") or () if 'extra == "demo"' in need}
    pip = f'pip install "{"tlcore[demo]" if _normal(package) in demo else package}"'
    return DataError(
        f"the package {package!r} is not installed",
        where="data.package",
        hint=f"install it: {pip}" + (f"; or did you mean {meant!r}?" if meant else ""),
    )


def _no_such_file(package: str, pattern: str, recorded: list[str]) -> DataError:
    data = [name for name in recorded if not re.search(r"\.(py[cdiox]?|so|typed)$|\.(dist|egg)-info/", name)]
    meant = nearest(pattern, data)
    shown = ([meant] if meant else []) + [name for name in data if name != meant]
    more = f", and {len(shown) - SHOWN_FILES} more" if len(shown) > SHOWN_FILES else ""
    return DataError(
        f"{package} has no file that matches {pattern!r}",
        where=f"its data files: {', '.join(shown[:SHOWN_FILES]) or 'none'}{more}",
        hint=f"did you mean {meant!r}?"
        if meant
        else "write the end of its path, such as `corpora/*.csv` (an editable installation records no data files)",
    )


def _normal(requirement: str) -> str:
    """Return a distribution's name as indexes compare it, without version, extras and markers."""
    name = re.match(r"[\w.-]+", requirement)
    return re.sub(r"[-_.]+", "-", name[0]).lower() if name else ""
