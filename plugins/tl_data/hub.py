"""Data sets of the library datasets: of the hub, saved on the disk, or as Parquet files. No script of theirs is run."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tl_data import ColumnOptions, DatasetOptions, HubOptions
from tl_data.paths import absent, printable
from tl_data.rows import Row, Sheet, as_text
from tl_data.table import Part, examples_of
from tlcore import DataError, DataSource, Example, Problem, WeightsError, nearest
from tlcore.data.splitting import SPLIT_NAMES

if TYPE_CHECKING:
    from datasets import Dataset

__all__ = ["DatasetSource", "HubSource"]

SECONDS_TO_ANSWER = 5.0


class DatasetSource(DataSource):
    """The rows of a data set that lies in a folder. It is read as it is: nothing of an earlier reading is reused."""

    def __init__(self, options: DatasetOptions) -> None:
        self.options = options

    def examples(self) -> Iterator[Example | Problem]:
        """Yield each row; see ``tl_data.table.TableSource``.

        Raises:
            DataError: no such folder, or nothing in it that is a data set.
        """
        return _examples(_on_disk(self.options.path), self.options.path, self.options, self.options.splits)


class HubSource(DataSource):
    """The rows of a data set of the hub."""

    def __init__(self, options: HubOptions) -> None:
        self.options = options

    def examples(self) -> Iterator[Example | Problem]:
        """Yield each row; see ``tl_data.table.TableSource``.

        Raises:
            DataError: there is no such data set, configuration or split.
            WeightsError: the hub cannot be reached.
        """
        options = self.options
        if Path(options.dataset).is_dir():
            yield from _examples(_on_disk(Path(options.dataset)), Path(options.dataset), options, options.splits)
            return
        revision = self._revision()
        found = self._loaded(revision)
        if options.revision is None and revision is not None:
            reason = f"read at its newest commit; to keep it so, write `data.revision: {revision}`"
            yield Problem(options.dataset, reason, skipped=False)
        yield from _examples(found, Path(options.dataset), options, options.splits, streamed=options.streaming)

    def _revision(self) -> str | None:
        """Return the commit that is meant, asked of the hub; None where it works offline, from what was fetched."""
        from huggingface_hub import HfApi
        from huggingface_hub.errors import OfflineModeIsEnabled, RepositoryNotFoundError, RevisionNotFoundError

        name = self.options.dataset
        try:
            info = HfApi().dataset_info(name, revision=self.options.revision, timeout=SECONDS_TO_ANSWER)
            return info.sha
        except OfflineModeIsEnabled:
            return self.options.revision
        except (RepositoryNotFoundError, RevisionNotFoundError) as error:
            raise DataError(
                f"the hub has no data set {name!r}" + (f" at {self.options.revision}" if self.options.revision else ""),
                hint="check data.dataset and data.revision; a private one needs a token (HF_TOKEN)",
            ) from error
        except Exception as error:  # the HTTP library behind the hub has errors of its own, and has changed before
            raise _unreachable(name, error) from error

    def _loaded(self, revision: str | None) -> Mapping[str, Iterable[Any]]:
        from datasets import load_dataset
        from datasets.exceptions import DatasetNotFoundError

        options = self.options
        try:
            return load_dataset(options.dataset, options.config, revision=revision, streaming=options.streaming)
        except DatasetNotFoundError as error:
            raise DataError(f"the hub has no data set {options.dataset!r}", hint="check data.dataset") from error
        except (ValueError, RuntimeError, FileNotFoundError) as error:
            reason = next(iter(str(error).splitlines()), type(error).__name__)
            raise DataError(
                f"the data set {options.dataset!r} cannot be read: {reason}", hint="check data.config"
            ) from error
        except Exception as error:
            raise _unreachable(options.dataset, error) from error


def _unreachable(name: str, error: Exception) -> WeightsError:
    reason = next(iter(str(error).splitlines()), type(error).__name__)
    return WeightsError(
        f"the hub cannot be reached: {reason}",
        where=f"tried: the data set {name}",
        hint=f"without a hub: `datasets.load_dataset({name!r}).save_to_disk(DIR)` elsewhere, bring DIR here, and "
        "`--set 'data={source: dataset, path: DIR}'`",
    )


def _on_disk(path: Path) -> Mapping[str, Dataset]:
    if not path.exists():
        raise absent(path)
    if (path / "dataset_dict.json").is_file() or (path / "state.json").is_file():
        return _saved(path)
    files = sorted(path.rglob("*.parquet"))
    if not files:
        raise DataError(
            f"{path} holds no data set: neither what save_to_disk writes nor Parquet files",
            where=str(path),
            hint="for a table use `source: table`, for class folders `source: folder`",
        )
    return _parquet(files)


def _saved(path: Path) -> Mapping[str, Dataset]:
    from datasets import Dataset, load_from_disk

    for state in path.rglob("state.json"):
        for entry in _json(state).get("_data_files", ()):
            if Path(str(entry.get("filename"))).name != entry.get("filename"):
                raise DataError("refused: it names a data file outside of its folder", where=str(state))
    try:
        found = load_from_disk(str(path))
    except Exception as error:  # damaged files fail in many ways, and each is a refusal
        reason = next(iter(str(error).splitlines()), type(error).__name__)
        raise DataError(f"the data set in {path} cannot be read: {reason}", where=str(path)) from error
    return {"": found} if isinstance(found, Dataset) else dict(found)


def _parquet(files: list[Path]) -> Mapping[str, Dataset]:
    import pyarrow
    from datasets import Dataset, concatenate_datasets
    from pyarrow import parquet

    parts: dict[str, list[Dataset]] = {}
    for file in files:
        try:
            table = parquet.read_table(file, memory_map=True, partitioning=None)
        except (pyarrow.ArrowException, OSError) as error:
            reason = next(iter(str(error).splitlines()), type(error).__name__)
            raise DataError(f"{file.name} is damaged: {reason}", where=str(file)) from error
        parts.setdefault(_split_in_name(file), []).append(Dataset(table))
    return {split: concatenate_datasets(found) for split, found in parts.items()}


def _split_in_name(file: Path) -> str:
    """Return the split that a file's name begins with (``train-00000-of-00002``), or its folder's name says."""
    return next((word for word in (file.stem.split("-")[0], file.parent.name) if word.casefold() in SPLIT_NAMES), "")


def _json(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(f"{path.name} cannot be read: {error}", where=str(path)) from error
    return found if isinstance(found, dict) else {}


def _examples(
    found: Mapping[str, Any],
    path: Path,
    options: ColumnOptions,
    wanted: Mapping[str, str] | None,
    *,
    streamed: bool = False,
) -> Iterator[Example | Problem]:
    """Yield the rows of the splits that are wanted, and say which were left out."""
    splits = _chosen(found, wanted, path)
    for name in found:
        if name not in splits.values():
            yield Problem(path.name, f"its split {name!r} is not used; data.splits can name it", skipped=False)
    sheets = (
        (Part(path / printable(name) if name else path, split or None), _sheet(found[name], name, options, streamed))
        for split, name in splits.items()
    )
    yield from examples_of(sheets, options)


def _chosen(found: Mapping[str, Any], wanted: Mapping[str, str] | None, path: Path) -> dict[str, str]:
    """Return which of the data set's splits is each of ours; an empty name stands for a data set without splits."""
    if wanted:
        for ours, theirs in wanted.items():
            if ours not in SPLIT_NAMES.values():
                raise DataError(
                    f"{ours!r} is no split of a run", where="data.splits", hint="ours are train, validation and test"
                )
            if theirs not in found:
                meant = nearest(theirs, found)
                raise DataError(
                    f"{path} has no split {theirs!r}",
                    where=f"its splits: {', '.join(found)}",
                    hint=f"did you mean {meant!r}?" if meant else "name one of these in data.splits",
                )
        return dict(wanted)
    if len(found) == 1:
        return {"": next(iter(found))}
    named: dict[str, str] = {}
    for name in found:
        split = SPLIT_NAMES.get(name.casefold())
        if split in named:
            raise DataError(
                f"{named[split]!r} and {name!r} of {path} are both the {split} split",
                hint=f"name one: `data.splits: {{{split}: {name}}}`",
            )
        if split is not None:
            named[split] = name
    if "train" not in named:
        raise DataError(
            f"none of the splits of {path} is called train",
            where=f"its splits: {', '.join(found)}",
            hint=f"name it: `data.splits: {{train: {next(iter(found))}}}`",
        )
    return named


def _sheet(dataset: Any, name: str, options: ColumnOptions, streamed: bool) -> Sheet:
    """Return a split as a sheet: classes by their names, pictures as the bytes that they are stored as."""
    from datasets import ClassLabel, Image

    features = dataset.features or {}
    for column, feature in features.items():
        if isinstance(feature, Image):
            dataset = dataset.cast_column(column, Image(decode=False))
    names = {
        column: inner.names
        for column, feature in features.items()
        if isinstance(inner := getattr(feature, "feature", feature), ClassLabel)
    }
    sheet = Sheet(list(features))
    rows: Iterable[Any] = itertools.islice(dataset, options.limit) if streamed and options.limit else dataset
    for number, cells in enumerate(rows, 1):
        written = {column: _cell(value, names.get(column)) for column, value in cells.items()}
        sheet.rows.append(Row(f"{name or 'row'} {number}", written))
    sheet.columns = sheet.columns or list(dict.fromkeys(column for row in sheet.rows for column in row.cells))
    return sheet


def _cell(value: Any, names: list[str] | None) -> Any:
    if isinstance(value, list):
        return [_cell(item, names) for item in value]
    if names is not None and isinstance(value, int):
        return names[value] if 0 <= value < len(names) else None
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, dict) and "bytes" in value:
        path = value.get("path")
        return value["bytes"] if value["bytes"] is not None else (str(path) if path else None)
    return as_text(value)
