"""The built-in data sources: class folders, tables, and tables that installed packages ship."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from tlcore import ANY_MODALITY, DataSourceSpec, hookimpl, option

if TYPE_CHECKING:
    from tlcore import DataSource

TLCORE_API = 1


@dataclass(frozen=True, kw_only=True)
class FolderOptions:
    """Keys of ``data`` for ``folder``."""

    path: Path = option(help="Folder of class folders, or of train, val and test folders that hold class folders.")


@dataclass(frozen=True, kw_only=True)
class ColumnOptions:
    """Keys of ``data`` that every source of table rows has."""

    input: str | None = option(None, "Column of the inputs; found by its usual names, such as text, unless given.")
    input_is: Literal["text", "path"] = option(
        "text", "What the input column holds: texts, or paths of files relative to the table's folder."
    )
    label: str | None = option(None, "Column of the labels; found by its usual names, such as label, unless given.")
    labelled: bool = option(True, "Whether rows have labels; without them they can be predicted but not trained on.")
    split: str | None = option(None, "Column that says train, validation or test; `split` unless given, if there.")
    group: str | None = option(None, "Column whose equal values must stay in one split, such as a customer.")
    id: str | None = option(None, "Column that identifies a row; `id` unless given, if there and unique.")
    delimiter: str | None = option(None, "Character between the cells, or `tab`; recognised unless given.")
    encoding: str | None = option(None, "Encoding of the text; UTF-8, or UTF-16 by its mark, unless given.")
    quotes: bool = option(True, "Whether a cell may stand in double quotation marks; else they are plain characters.")
    limit: int | None = option(None, "Use only so many examples, chosen by a hash of the id.", ge=1)


@dataclass(frozen=True, kw_only=True)
class TableOptions(ColumnOptions):
    """Keys of ``data`` for ``table``."""

    path: Path = option(help="A .csv, .tsv, .jsonl, .json or .parquet file, or a folder with train.csv and test.csv.")


@dataclass(frozen=True, kw_only=True)
class PackageOptions(ColumnOptions):
    """Keys of ``data`` for ``package``."""

    package: str = option(help="Name of an installed distribution, as pip knows it; it is never imported.")
    file: str = option(help="The end of the path of a file inside it, such as `corpora/*.csv`.")


@dataclass(frozen=True, kw_only=True)
class DrawnVehiclesOptions:
    """Keys of ``data`` for ``drawn-vehicles``."""

    count: int = option(1000, "How many pictures; asking for more keeps the earlier ones as they are.", ge=1)
    seed: int = option(0, "Another seed draws other pictures.")
    size: int = option(224, "Width and height of a picture in pixels.", ge=32)


@hookimpl
def tl_data_sources() -> Iterable[DataSourceSpec]:
    """Offer class folders, tables, and tables in packages."""
    yield DataSourceSpec(
        name="folder",
        summary="Files in class folders, with or without train, val and test folders above them.",
        modality=ANY_MODALITY,
        options=FolderOptions,
        build=_folder,
        smoke=_tiny_folder,
    )
    yield DataSourceSpec(
        name="table",
        summary="Rows of a CSV, TSV, JSONL, JSON or Parquet file.",
        modality=ANY_MODALITY,
        options=TableOptions,
        build=_table,
        smoke=_tiny_table,
    )
    yield DataSourceSpec(
        name="package",
        summary="Rows of tables that an installed Python package ships.",
        modality=ANY_MODALITY,
        options=PackageOptions,
        build=_package,
        smoke=_table_of_a_dependency,
    )
    yield DataSourceSpec(
        name="drawn-vehicles",
        summary="Street scenes in five classes of vehicles, drawn on the spot: no file, no network.",
        modality="image",
        options=DrawnVehiclesOptions,
        build=_drawn_vehicles,
        smoke=lambda folder: DrawnVehiclesOptions(count=15, size=64),
    )


def _folder(options: FolderOptions) -> DataSource:
    from tl_data.folder import FolderSource

    return FolderSource(options)


def _table(options: TableOptions) -> DataSource:
    from tl_data.table import TableSource

    return TableSource(options)


def _package(options: PackageOptions) -> DataSource:
    from tl_data.package import PackageSource

    return PackageSource(options)


def _drawn_vehicles(options: DrawnVehiclesOptions) -> DataSource:
    from tl_data.drawn_vehicles import DrawnVehicles

    return DrawnVehicles(options)


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


def _table_of_a_dependency(folder: Path) -> PackageOptions:
    """Name a small table that a package ships which tlcore requires, so it is always there: 20 people's measures."""
    return PackageOptions(
        package="scikit-learn", file="data/linnerud_physiological.csv", delimiter=" ", input="Weight", label="Waist"
    )
