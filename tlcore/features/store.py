"""The states of one run at the line, by example id: written once, memory-mapped, ragged where they have a mask."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from io import BufferedWriter
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING

from tlcore.contracts import State
from tlcore.features.batching import stacked

if TYPE_CHECKING:
    import torch
    from torch import Tensor

__all__ = ["FeatureStore"]


@dataclass
class _Column:
    """One named tensor of all rows, end to end in one file."""

    file: BufferedWriter
    dtype: torch.dtype
    shape: tuple[int, ...]
    """Shape of a row; a ragged row's first dimension is left out."""
    starts: list[int] = field(default_factory=lambda: [0])
    """Where each row begins, counted in places of ``shape``."""
    values: Tensor | None = None


class FeatureStore:
    """States by example id; fill it with ``add``, then ``finish``, then read batches with ``batch``."""

    def __init__(self, folder: Path, ragged: Sequence[str]) -> None:
        self._folder = folder
        self._ragged = list(ragged)
        self._columns: dict[str, _Column] = {}
        self._row_of: dict[str, int] = {}
        folder.mkdir(parents=True, exist_ok=True)

    def __len__(self) -> int:
        return len(self._row_of)

    def add(self, id_: str, row: State) -> None:
        """Append the state of one example."""
        import torch

        for name, tensor in row.items():
            shape = tuple(tensor.shape[1:] if name in self._ragged else tensor.shape)
            if name not in self._columns:
                file = (self._folder / f"{len(self._columns)}.bin").open("wb")
                self._columns[name] = _Column(file, tensor.dtype, shape)
            column = self._columns[name]
            if (column.dtype, column.shape) != (tensor.dtype, shape):
                raise ValueError(f"{name} of {id_} is {tensor.dtype} {shape}, not {column.dtype} {column.shape}")
            column.file.write(tensor.contiguous().reshape(-1).view(torch.uint8).numpy().data)
            column.starts.append(column.starts[-1] + (len(tensor) if name in self._ragged else 1))
        self._row_of[id_] = len(self._row_of)

    def finish(self) -> None:
        """Close the files and map them into memory."""
        import torch

        for column in self._columns.values():
            column.file.close()
            size = column.starts[-1] * prod(column.shape)
            flat = torch.from_file(str(column.file.name), size=size, dtype=column.dtype) if size else torch.empty(0)
            column.values = flat.view(column.starts[-1], *column.shape)

    def batch(self, ids: Sequence[str], epoch: int | None = None) -> State:
        """Return the states of these examples as one batch, padded with zeros as far as the longest needs.

        They are the same in every epoch.
        """
        import torch

        rows = [self._row_of[id_] for id_ in ids]
        columns = {name: (column, column.values) for name, column in self._columns.items()}
        if not self._ragged:
            index = torch.tensor(rows)
            return {name: values[index] for name, (_, values) in columns.items() if values is not None}
        found = []
        for row in rows:
            state = {}
            for name, (column, values) in columns.items():
                assert values is not None, "finish() comes before batch()"
                part = values[column.starts[row] : column.starts[row + 1]]
                state[name] = part if name in self._ragged else part[0]
            found.append(state)
        return stacked(found, self._ragged)
