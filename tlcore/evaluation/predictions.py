"""Predictions, tables and mistakes as files and records."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tlcore.contracts import Example, Mistake, Task
from tlcore.errors import PluginError
from tlcore.files.atomic import publish_file
from tlcore.notes import note
from tlcore.plugins.validation import decoded, mistakes_of

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["prediction_columns", "worst_mistakes", "write_predictions"]


def prediction_columns(task: Task, examples: Sequence[Example], outputs: Tensor) -> dict[str, Any]:
    """Return id, split, label and what the task decodes, as columns of one length; what is decoded, as Arrow arrays.

    Raises:
        PluginError: the task decoded another number of rows, or a column of ours.
    """
    columns: dict[str, Any] = {
        "id": [example.id for example in examples],
        "split": [example.split for example in examples],
        "label": [example.label for example in examples],
    }
    for name, values in decoded(task, outputs).items():
        columns[name] = _column(values)  # as Python's own numbers they would take five times the memory
    return columns


def write_predictions(path: Path, parts: Sequence[Mapping[str, Any]]) -> None:
    """Write ``predictions.parquet`` from the columns of each split."""
    import pyarrow
    from pyarrow import parquet

    if odd := next((name for part in parts for name in part.keys() ^ parts[0].keys()), None):
        raise PluginError(
            f"the task decoded the column {odd!r} for one split, but not for another",
            hint="that is for who wrote the task to mend: the columns must not depend on the examples",
        )
    joined = {name: _joined(name, [part[name] for part in parts]) for name in parts[0]}
    sink = io.BytesIO()
    parquet.write_table(pyarrow.Table.from_arrays(list(joined.values()), names=list(joined)), sink)
    publish_file(path, sink.getvalue())


def worst_mistakes(
    task: Task, examples: Sequence[Example], outputs: Tensor, targets: Tensor, count: int
) -> list[Mistake]:
    """Return the ``count`` most wrong examples, each with a preview and its decoded columns."""
    severity = mistakes_of(task, outputs, targets)
    order = sorted((n for n, value in enumerate(severity) if value > 0), key=lambda n: (-severity[n], examples[n].id))
    shown = order[:count]
    if not shown:
        return []
    columns = decoded(task, outputs[shown])
    found = []
    for place, n in enumerate(shown):
        row = {name: values[place] for name, values in columns.items()}
        example = examples[n]
        found.append(Mistake(example.id, example.label, row.pop("prediction"), row, _preview(task, example)))
    return found


def _preview(task: Task, example: Example) -> str | bytes:
    """Return how an example is shown; one that cannot be shown costs its picture, and no finished training."""
    try:
        shown = task.preview(example)
        if isinstance(shown, (str, bytes)):
            return shown
        reason = f"it is a {type(shown).__name__}"
    except Exception as error:  # a plugin's
        reason = f"{type(error).__name__}: {error}"
    note(f"{type(task).__qualname__}.preview failed, so a mistake is shown without its input: {reason}")
    return ""


def _joined(name: str, parts: Sequence[Any]) -> Any:
    import pyarrow

    types = {part.type if isinstance(part, pyarrow.Array) else None for part in parts}
    if None not in types and len(types) == 1:
        return pyarrow.chunked_array(parts)
    values = [value for part in parts for value in (part.to_pylist() if isinstance(part, pyarrow.Array) else part)]
    return _column(_alike(values) if name == "label" else values)


def _column(values: list[Any]) -> Any:
    """Return an Arrow array. Texts and real numbers are laid out here, since Arrow would import pandas first."""
    import numpy
    import pyarrow

    kinds = set(map(type, values))
    if kinds == {float}:
        return pyarrow.Array.from_buffers(
            pyarrow.float64(), len(values), [None, pyarrow.py_buffer(numpy.array(values, "float64"))]
        )
    if kinds == {str}:
        texts = [value.encode("utf-8") for value in values]
        if sum(map(len, texts)) < 2**31:
            ends = numpy.cumsum([0, *map(len, texts)], dtype="int32")
            buffers = [None, pyarrow.py_buffer(ends), pyarrow.py_buffer(b"".join(texts))]
            return pyarrow.Array.from_buffers(pyarrow.string(), len(values), buffers)
    return pyarrow.array(values)


def _alike(labels: list[Any]) -> list[Any]:
    """Return labels of one type, as a column needs them: a source may give ``"a"`` beside ``("a", "b")``, 1 or "1"."""
    labels = [sorted(label, key=str) if isinstance(label, (set, frozenset)) else label for label in labels]
    several = [isinstance(label, (tuple, list)) for label in labels]
    if any(several):
        return [list(label) if many else [label] for label, many in zip(labels, several, strict=True)]
    kinds = set(map(type, labels)) - {type(None)}
    return labels if len(kinds) < 2 or kinds <= {int, float} else list(map(str, labels))
