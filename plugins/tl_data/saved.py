"""Data sets that lie on the disk: what save_to_disk of the library datasets wrote, or Parquet files."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tl_data import DatasetOptions
from tl_data.paths import absent
from tl_data.rows import require_possible_rows
from tl_data.splits import Splits, examples_of_splits
from tlcore import DataError, DataSource, Example, Problem, WeightsError, nearest
from tlcore.support import SPLIT_NAMES, read_object

if TYPE_CHECKING:
    from datasets import Dataset

__all__ = ["DatasetSource", "damaged", "on_disk", "reason_of"]

SHARD = re.compile(r"(?P<split>.+)-(?P<number>\d{5})-of-(?P<count>\d{5})")
"""How the hub and the library name the files that one split is cut into."""


class DatasetSource(DataSource):
    """The rows of a data set that lies in a folder. It is read as it is: nothing of an earlier reading is reused."""

    def __init__(self, options: DatasetOptions) -> None:
        self.options = options

    def examples(self) -> Iterator[Example | Problem]:
        """Yield each row; see ``tl_data.table.TableSource``.

        Raises:
            DataError: no such folder, or nothing in it that is one whole data set.
        """
        path = self.options.path
        return examples_of_splits(
            on_disk(path), path, self.options, roots=(path,), refusal=lambda error: damaged(path, error)
        )


def on_disk(path: Path, config: str | None = None) -> Splits:
    """Return the splits of the data set in a folder; ``config`` says which one where there are several.

    Raises:
        DataError: no such folder, nothing in it that is a data set, several of them, or one with a file missing.
    """
    if not path.exists():
        raise absent(path)
    if (path / "dataset_dict.json").is_file() or (path / "state.json").is_file():
        return _saved(path)
    files = sorted(
        file for file in path.rglob("*.parquet") if not any(part[0] == "." for part in file.relative_to(path).parts)
    )
    if not files:
        raise DataError(
            f"{path} holds no data set: neither what save_to_disk writes nor Parquet files",
            where=str(path),
            hint="for a table use `source: table`, for class folders `source: folder`",
        )
    return _parquet(_of_one_config(files, path, config))


def damaged(path: Path, error: Exception) -> DataError:
    """Return the refusal of a data set that cannot be read."""
    return DataError(
        f"the data set in {path} cannot be read: {reason_of(error)}",
        where=str(path),
        hint="save or fetch it again",
    )


def reason_of(error: Exception) -> str:
    """Return the first line of what a library says, or the name of its error."""
    return next((line for line in str(error).splitlines() if line.strip()), type(error).__name__)


def _saved(path: Path) -> Splits:
    from datasets import Dataset, load_from_disk

    named = [(path / "dataset_dict.json", _json(path / "dataset_dict.json").get("splits"))]
    for state in path.rglob("state.json"):
        files = _json(state).get("_data_files")
        named.append((state, [entry.get("filename") for entry in files or () if isinstance(entry, dict)]))
    for place, names in named:
        for name in names or ():
            if not isinstance(name, str) or Path(name).name != name or name == "..":
                raise DataError("refused: it names something outside of its folder", where=f"{place}: {name!r}")
    try:
        found = load_from_disk(str(path))
    except Exception as error:  # damaged files fail in many ways, and each is a refusal
        raise damaged(path, error) from error
    return {"": found} if isinstance(found, Dataset) else dict(found)


def _of_one_config(files: Sequence[Path], path: Path, config: str | None) -> list[Path]:
    """Return the files of one configuration, which on the hub is a folder: two of them are never read as one."""
    by_config: dict[str, list[Path]] = defaultdict(list)
    for file in files:
        parts = file.relative_to(path).parent.parts
        by_config["/".join(part for part in parts if part != "data" and part.casefold() not in SPLIT_NAMES)].append(
            file
        )
    if config is not None and config not in by_config:
        meant = nearest(config, by_config)
        raise DataError(
            f"{path} has no configuration {config!r}",
            where=f"its configurations: {', '.join(sorted(by_config)) or 'none'}",
            hint=f"did you mean {meant!r}?" if meant else "check data.config",
        )
    if config is None and len(by_config) > 1:
        names = sorted(by_config)
        raise DataError(
            f"{path} holds several data sets: {', '.join(name or 'that of the folder itself' for name in names[:12])}",
            hint=f"name one: its folder, such as {str(path / names[-1])!r}, or for `source: hub` `data.config`",
        )
    return by_config[next(iter(by_config)) if config is None else config]


def _parquet(files: Sequence[Path]) -> Splits:
    import pyarrow
    from datasets import Dataset, concatenate_datasets
    from pyarrow import parquet

    _require_all_shards(files)
    parts: dict[str, list[Dataset]] = {}
    for file in files:
        if not file.is_file():
            raise DataError(f"{file.name} is no file", where=str(file))
        try:  # from ValueError on: what the file says of its columns
            require_possible_rows(file, parquet.read_metadata(file).num_rows)
            table = parquet.read_table(file, memory_map=True, partitioning=None)
            parts.setdefault(_split_in_name(file), []).append(Dataset(table))
        except (
            pyarrow.ArrowException,
            OSError,
            ValueError,
            TypeError,
            KeyError,
            AttributeError,
            RecursionError,
        ) as error:
            raise DataError(f"{file.name} is damaged: {reason_of(error)}", where=str(file)) from error
    found: dict[str, Dataset] = {}
    for split, tables in parts.items():
        try:
            found[split] = concatenate_datasets(tables)
        except ValueError as error:
            raise DataError(
                f"the files of {f'split {split}' if split else 'one data set'} have different columns",
                where=f"{files[0].parent}: {reason_of(error)}",
                hint="keep those that belong together in one folder, and name it",
            ) from error
    return found


def _require_all_shards(files: Sequence[Path]) -> None:
    """Refuse a split of which a file is missing, as a broken download leaves it.

    Raises:
        DataError: the message names the missing file.
    """
    present: dict[tuple[Path, str, str], set[int]] = defaultdict(set)
    for file in files:
        if found := SHARD.fullmatch(file.stem):
            present[file.parent, found["split"], found["count"]].add(int(found["number"]))
    for (folder, split, count), numbers in present.items():
        missing = sorted(set(range(int(count))) - numbers)
        if missing:
            raise DataError(
                f"{len(missing)} of {int(count)} files of {split} are missing",
                where=f"{folder} holds no {split}-{missing[0]:05}-of-{count}.parquet",
                hint="fetch them again",
            )


def _split_in_name(file: Path) -> str:
    """Return the split that a file's name begins with (``train-00000-of-00002``), or its folder's name says."""
    shard = SHARD.fullmatch(file.stem)
    words = (shard["split"] if shard else "", re.split(r"[^A-Za-z]+", file.stem)[0], file.parent.name)
    usual = next((word for word in words if word.casefold() in SPLIT_NAMES), None)
    return usual if usual is not None else words[0]


def _json(path: Path) -> dict[str, Any]:
    if not path.is_file():
        return {}
    try:
        return read_object(path)
    except WeightsError as error:
        raise DataError(error.what, where=str(path)) from error
