"""Which of the data sources a file or a folder is laid out for."""

from __future__ import annotations

from pathlib import Path

from tl_data.rows import SUFFIXES

__all__ = ["source_of"]


def source_of(path: Path) -> str | None:
    """Return the name of the source; None for other files, and for a folder of tables of which none is for training."""
    if path.is_file():
        return "table" if path.suffix.lower() in SUFFIXES else None
    if any((path / name).is_file() for name in ("dataset_dict.json", "state.json")):
        return "dataset"
    if any(entry.is_file() for entry in path.glob("train.*")):
        return "table"
    if next(path.glob("*.parquet"), None) or next(path.glob("data/*.parquet"), None):
        return "dataset"
    entries = [entry for entry in path.glob("*") if not entry.name.startswith(".")]
    has_tables = any(entry.suffix.lower() in SUFFIXES and entry.suffix.lower() != ".txt" for entry in entries)
    return None if has_tables and not any(entry.is_dir() for entry in entries) else "folder"
