"""Predictions, tables and mistakes as files and records."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tlcore.contracts import Example, Mistake, Task
from tlcore.publishing import publish_file

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["prediction_columns", "worst_mistakes", "write_predictions"]


def prediction_columns(task: Task, examples: Sequence[Example], outputs: Tensor) -> dict[str, list[Any]]:
    """Return id, split, label and what the task decodes, as columns of one length.

    Raises:
        ValueError: the task decoded another number of rows, or a column of ours.
    """
    columns: dict[str, list[Any]] = {
        "id": [example.id for example in examples],
        "split": [example.split for example in examples],
        "label": [example.label for example in examples],
    }
    for name, values in task.decode(outputs).items():
        if name in columns or len(values) != len(examples):
            raise ValueError(f"the task decoded a column {name!r} of {len(values)} rows for {len(examples)} examples")
        columns[name] = list(values)
    return columns


def write_predictions(path: Path, parts: Sequence[Mapping[str, list[Any]]]) -> None:
    """Write ``predictions.parquet`` from the columns of each split."""
    import pyarrow
    from pyarrow import parquet

    joined = {name: [value for part in parts for value in part[name]] for name in parts[0]}
    joined["label"] = _alike(joined["label"])
    sink = io.BytesIO()
    parquet.write_table(pyarrow.table(joined), sink)
    publish_file(path, sink.getvalue())


def worst_mistakes(
    task: Task, examples: Sequence[Example], outputs: Tensor, targets: Tensor, count: int
) -> list[Mistake]:
    """Return the ``count`` most wrong examples, each with a preview and its decoded columns."""
    severity = task.mistakes(outputs, targets).tolist()
    order = sorted((n for n, value in enumerate(severity) if value > 0), key=lambda n: (-severity[n], examples[n].id))
    decoded = task.decode(outputs)
    found = []
    for n in order[:count]:
        row = {name: values[n] for name, values in decoded.items()}
        example = examples[n]
        found.append(Mistake(example.id, example.label, row.pop("prediction"), row, task.preview(example)))
    return found


def _alike(labels: list[Any]) -> list[Any]:
    """Return labels of one type, as a column needs them: a source may give ``"a"`` beside ``("a", "b")``, 1 or "1"."""
    labels = [sorted(label) if isinstance(label, (set, frozenset)) else label for label in labels]
    several = [isinstance(label, (tuple, list)) for label in labels]
    if any(several):
        return [list(label) if many else [label] for label, many in zip(labels, several, strict=True)]
    return list(map(str, labels)) if any(isinstance(label, str) for label in labels) else labels
