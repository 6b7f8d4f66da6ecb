"""What tlcore relies on in a task."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tlcore.contracts import Evaluation, Example, Selection, Table, Task
from tlcore.errors import DataError
from tlcore.specs import TaskSpec
from tlcore.testing.promises import TOLERANCE, are_close, json_able, require, smoke_options

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["LABELS", "check_task"]

LABELS = ("a", "b", "a", "b", "c", "a", "c")


def check_task(
    spec: TaskSpec, folder: Path, *, labels: Sequence[Any] = LABELS, examples: Sequence[Example] = ()
) -> None:
    """Check a task on labels that it can be fitted on, and its preview on examples of its modality."""
    import torch

    options = smoke_options(spec, folder)
    task: Task = spec.build(options)
    state = json_able(task.fit(labels), "what fit returns")
    restored: Task = spec.build(options)
    restored.restore(json.loads(json.dumps(state)))
    for one in (task, restored):
        require(isinstance(one.outputs, int) and one.outputs > 0, f"outputs is {one.outputs!r}, no positive number")
        require(isinstance(one.selection, Selection), f"selection is {one.selection!r}, no Selection")
    require(task.outputs == restored.outputs, "restore leads to another number of outputs than fit")
    targets = task.encode(labels)
    require(isinstance(targets, torch.Tensor) and len(targets) == len(labels), "encode returns no tensor of N targets")
    require(torch.equal(targets, restored.encode(labels)), "restore leads to other targets than fit")
    outputs = torch.randn(len(labels), task.outputs, generator=torch.Generator().manual_seed(0))
    columns = _check_decoding(task, outputs)
    require(columns == _check_decoding(restored, outputs), "restore leads to other predictions than fit")
    _check_loss(task, outputs, targets)
    for count in (len(labels), 1):
        _check_evaluation(task, outputs[:count], targets[:count])
    _check_mistakes(task, outputs, targets, columns["prediction"])
    for example in examples:
        seen = task.preview(example)
        is_png = isinstance(seen, bytes) and seen.startswith(b"\x89PNG\r\n\x1a\n")
        require(isinstance(seen, str) or is_png, f"preview of {example.id} is neither text nor the bytes of a PNG")


def _check_decoding(task: Task, outputs: Tensor) -> dict[str, list[Any]]:
    columns = {name: list(values) for name, values in task.decode(outputs).items()}
    require(next(iter(columns), None) == "prediction", "the first column of decode is not `prediction`")
    for name, values in columns.items():
        require(len(values) == len(outputs), f"column {name!r} of decode has {len(values)} values for N={len(outputs)}")
    json_able(columns, "what decode returns")
    return columns


def _check_loss(task: Task, outputs: Tensor, targets: Tensor) -> None:
    import torch

    outputs = outputs.clone().requires_grad_(True)
    loss = task.loss(outputs, targets)
    require(loss.dim() == 0 and bool(torch.isfinite(loss)), f"loss is {loss!r}, no finite scalar")
    require(loss.requires_grad, "no gradient flows from the loss to the outputs")
    [gradient] = torch.autograd.grad(loss, outputs)
    require(bool(torch.isfinite(gradient).all()) and bool(gradient.any()), "the gradient of the loss is no direction")
    twice = task.loss(torch.cat([outputs, outputs]), torch.cat([targets, targets]))
    require(are_close(twice, loss), "the loss of a batch given twice is another: it must be the mean of its rows")


def _check_evaluation(task: Task, outputs: Tensor, targets: Tensor) -> None:
    found = task.evaluate(outputs, targets)
    require(isinstance(found, Evaluation), f"evaluate returns {found!r}, which is no Evaluation")
    metrics = json_able(found.metrics, "the metrics of evaluate")
    for name in ("loss", "n", task.selection.metric):
        value = metrics.get(name)
        require(isinstance(value, (int, float)), f"evaluate gives no number as {name!r}")
    require(metrics["n"] == len(targets), f"evaluate counts {metrics['n']} examples, not {len(targets)}")
    for name, table in found.tables.items():
        require(isinstance(table, Table), f"the table {name!r} is no Table")
        uneven = [row for row in table.rows if len(row) != len(table.columns)]
        require(not uneven, f"a row of the table {name!r} has another number of cells than there are columns")


def _check_mistakes(task: Task, outputs: Tensor, targets: Tensor, predictions: Sequence[Any]) -> None:
    """Check that only wrong predictions count as mistakes; the predictions themselves serve as right answers."""
    import torch

    found = task.mistakes(outputs, targets)
    require(found.shape == (len(targets),), f"mistakes has the shape {tuple(found.shape)}, not (N,)")
    require(bool(torch.isfinite(found).all()) and bool((found >= 0).all()), "mistakes holds negative or no numbers")
    try:
        right = task.encode(predictions)
    except DataError:  # a prediction that is no label, such as a ranking
        return
    require(not bool((task.mistakes(outputs, right).abs() > TOLERANCE).any()), "mistakes is not zero for what is right")
    wrong = (right != targets).reshape(len(targets), -1).any(dim=1)
    require(not bool(wrong.any()) or bool(found[wrong].any()), "mistakes is zero for predictions that are wrong")
