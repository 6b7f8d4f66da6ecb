"""The built-in data sources: class folders, tables, data sets of the hub, and what installed packages ship."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, fields
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from tlcore import ANY_MODALITY, DataSourceSpec, hookimpl, option

if TYPE_CHECKING:
    from tlcore import DataSource

TLCORE_API = 1
LAYOUT_OF_ROWS = ("input", "input_is", "label", "labels", "label_separator", "label_is", "classes")
LAYOUT_OF_FILES = ("delimiter", "encoding", "quotes")

_CLASSES_HELP = (
    "File with the names of the classes: one a line for labels 0, 1, 2 …, or a .csv or .json that maps labels to names."
)
_SPLITS_HELP = "Which of its splits are train, validation and test, such as `{train: train, test: validation}`."


@dataclass(frozen=True, kw_only=True)
class FolderOptions:
    """Keys of ``data`` for ``folder``."""

    path: Path = option(help="Folder of class folders, or of train, val and test folders that hold class folders.")
    label: Literal["first", "last", "path"] = option(
        "first", "Which of nested folders names the class: the first, the last, or all of them as a path."
    )
    classes: Path | None = option(None, _CLASSES_HELP)
    limit: int | None = option(None, "Use only so many examples, chosen by a hash of the id.", ge=1)


@dataclass(frozen=True, kw_only=True)
class InputOptions:
    """Keys of ``data`` that say what the inputs of rows are; the fields of the last of several bases come first."""

    input: str | None = option(None, "Column of the inputs; found by its usual names, such as text, unless given.")
    input_is: Literal["text", "path"] = option(
        "text", "What the input column holds: texts, or paths of files relative to the table's folder or `root`."
    )
    root: Path | None = option(
        None, "Folder that the paths are relative to and must not lead out of; the table's own unless given."
    )


@dataclass(frozen=True, kw_only=True)
class LabelOptions:
    """Keys of ``data`` that say what the labels of rows are."""

    label: str | None = option(None, "Column of the labels; found by its usual names, such as label, unless given.")
    labels: tuple[str, ...] = option((), "Columns that are 1 or true where an example has the label of their name.")
    label_separator: str | None = option(None, "What stands between several labels in one cell, such as `|`.")
    label_is: Literal["name", "number"] = option(
        "name", "Whether labels are names, of which `1` and `1.0` would be two, or numbers."
    )
    labelled: bool = option(True, "Whether rows have labels; without them they can be predicted but not trained on.")
    classes: Path | None = option(None, _CLASSES_HELP)
    filter: dict[str, str | tuple[str, ...]] | None = option(
        None, "Only rows whose column has this value, or one of these, such as `{lang: de}` or `{stars: [1, 5]}`."
    )

    def __post_init__(self) -> None:
        if self.labels and (self.label is not None or self.label_separator is not None):
            raise ValueError("labels names a column for each label; leave label and label_separator out")


@dataclass(frozen=True, kw_only=True)
class ColumnOptions(LabelOptions, InputOptions):
    """Keys of ``data`` that every source of table rows has."""

    split: str | None = option(None, "Column that says train, validation or test; `split` unless given, if there.")
    group: str | None = option(None, "Column whose equal values must stay in one split, such as a customer.")
    id: str | None = option(None, "Column that identifies a row; `id` unless given, if there and unique.")
    limit: int | None = option(None, "Use only so many examples, chosen by a hash of the id.", ge=1)


@dataclass(frozen=True, kw_only=True)
class FileOptions(ColumnOptions):
    """Keys of ``data`` that say how the text of a table file is read."""

    delimiter: str | None = option(None, "Character between the cells, or `tab`; recognised unless given.")
    encoding: str | None = option(None, "Encoding of the text; UTF-8, or UTF-16 by its mark, unless given.")
    quotes: bool = option(True, "Whether a cell may stand in double quotation marks; else they are plain characters.")


@dataclass(frozen=True, kw_only=True)
class _TablePlace:
    path: Path = option(help="A .csv, .tsv, .jsonl, .json or .parquet file, or a folder with train.csv and test.csv.")


@dataclass(frozen=True, kw_only=True)
class TableOptions(FileOptions, _TablePlace):
    """Keys of ``data`` for ``table``."""


@dataclass(frozen=True, kw_only=True)
class _PackagePlace:
    package: str = option(help="Name of an installed distribution, as pip knows it; it is never imported.")
    file: str | None = option(None, "The end of the path of a table inside it, such as `corpora/*.csv`.")
    folder: str | None = option(
        None, "In place of a table, the end of the path of a folder of class folders inside it."
    )


@dataclass(frozen=True, kw_only=True)
class PackageOptions(FileOptions, _PackagePlace):
    """Keys of ``data`` for ``package``."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if (self.file is None) == (self.folder is None):
            raise ValueError("give either the file of a table or the folder of class folders in the package")
        if self.folder is not None:
            of_tables = {field.name: field.default for field in fields(FileOptions)}
            given = [name for name, usual in of_tables.items() if getattr(self, name) != usual]
            if idle := [name for name in given if name not in ("classes", "limit")]:
                raise ValueError(f"{idle[0]} is for the file of a table; with a folder leave it out")


@dataclass(frozen=True, kw_only=True)
class _DatasetPlace:
    path: Path = option(help="Folder that `save_to_disk` of the library datasets wrote, or a folder of Parquet files.")
    splits: dict[str, str] | None = option(None, _SPLITS_HELP)


@dataclass(frozen=True, kw_only=True)
class DatasetOptions(ColumnOptions, _DatasetPlace):
    """Keys of ``data`` for ``dataset``."""


@dataclass(frozen=True, kw_only=True)
class _HubPlace:
    dataset: str = option(help="Name of a data set on the hub, such as `stanfordnlp/imdb`.")
    config: str | None = option(None, "Which of its configurations, where it has several.")
    revision: str | None = option(None, "Commit of the data set; name it, and the data stays what it is.")
    splits: dict[str, str] | None = option(None, _SPLITS_HELP)
    streaming: bool = option(
        False, "Read it without keeping it on the disk; with `limit`, only the first rows of each split."
    )


@dataclass(frozen=True, kw_only=True)
class HubOptions(ColumnOptions, _HubPlace):
    """Keys of ``data`` for ``hub``."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.dataset.strip():
            raise ValueError("the name of a data set is needed, such as `stanfordnlp/imdb`")


@hookimpl
def tl_data_sources() -> Iterable[DataSourceSpec]:
    """Offer class folders, tables, what packages ship, and data sets of the disk and of the hub."""
    yield DataSourceSpec(
        name="folder",
        summary="Files in class folders, with or without train, val and test folders above them.",
        modality=ANY_MODALITY,
        options=FolderOptions,
        build=_folder,
        smoke=_tiny_folder,
        recognizes=partial(_recognizes, "folder"),
    )
    yield DataSourceSpec(
        name="table",
        summary="Rows of a CSV, TSV, JSONL, JSON or Parquet file.",
        modality=ANY_MODALITY,
        options=TableOptions,
        build=_table,
        smoke=_tiny_table,
        recognizes=partial(_recognizes, "table"),
        layout_options=(*LAYOUT_OF_ROWS, *LAYOUT_OF_FILES),
    )
    yield DataSourceSpec(
        name="package",
        summary="Rows of tables that an installed Python package ships.",
        modality=ANY_MODALITY,
        options=PackageOptions,
        build=_package,
        smoke=_table_of_scikit_learn,
        layout_options=(*LAYOUT_OF_ROWS, *LAYOUT_OF_FILES),
    )
    yield DataSourceSpec(
        name="dataset",
        summary="A data set of the library datasets on the disk, or a folder of Parquet files.",
        modality=ANY_MODALITY,
        options=DatasetOptions,
        build=_dataset,
        smoke=_tiny_dataset,
        recognizes=partial(_recognizes, "dataset"),
        layout_options=LAYOUT_OF_ROWS,
    )
    yield DataSourceSpec(
        name="hub",
        summary="A data set of the Hugging Face hub.",
        modality=ANY_MODALITY,
        options=HubOptions,
        build=_hub,
        smoke=_tiny_repository,
        layout_options=LAYOUT_OF_ROWS,
    )


def _recognizes(source: str, path: Path) -> bool:
    from tl_data.layouts import source_of

    return source_of(path) == source


def _folder(options: FolderOptions) -> DataSource:
    from tl_data.folder import FolderSource

    return FolderSource(options)


def _table(options: TableOptions) -> DataSource:
    from tl_data.table import TableSource

    return TableSource(options)


def _package(options: PackageOptions) -> DataSource:
    from tl_data.package import PackageSource

    return PackageSource(options)


def _dataset(options: DatasetOptions) -> DataSource:
    from tl_data.saved import DatasetSource

    return DatasetSource(options)


def _hub(options: HubOptions) -> DataSource:
    from tl_data.hub import HubSource

    return HubSource(options)


def _tiny_folder(folder: Path) -> FolderOptions:
    for name in ("low", "high"):
        (folder / name).mkdir()
        for number in range(4):
            (folder / name / f"{number}.txt").write_text(f"{name} {number}")
    return FolderOptions(path=folder)


def _tiny_table(folder: Path) -> TableOptions:
    path = folder / "tiny.csv"
    rows = [f"a {word} day,{label}" for word, label in (("fine", "good"), ("bad", "poor"), ("great", "good"))]
    path.write_text("\n".join(["text,label", *rows, ""]))
    return TableOptions(path=path)


def _tiny_dataset(folder: Path) -> DatasetOptions:
    from datasets import Dataset

    Dataset.from_dict(
        {"text": ["a fine day", "a bad day", "a great day"], "label": ["good", "poor", "good"]}
    ).to_parquet(folder / "train-00000-of-00001.parquet")
    return DatasetOptions(path=folder)


def _tiny_repository(folder: Path) -> HubOptions:
    """Name a folder that is laid out like a data set of the hub, which stands for one without a network."""
    _tiny_dataset(folder)
    return HubOptions(dataset=str(folder))


def _table_of_scikit_learn(folder: Path) -> PackageOptions:
    """Name a small table of scikit-learn, which tests require: measures of 20 people."""
    return PackageOptions(
        package="scikit-learn", file="data/linnerud_physiological.csv", delimiter=" ", input="Weight", label="Waist"
    )
