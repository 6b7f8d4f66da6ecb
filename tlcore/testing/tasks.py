"""What tlcore relies on in a task."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tlcore.contracts import Example, Task
from tlcore.errors import DataError
from tlcore.plugins.validation import decoded, encoded, evaluated, fitted, loss_of, mistakes_of
from tlcore.specs import TaskSpec
from tlcore.testing.promises import TOLERANCE, are_close, conformance, require, smoke_options

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["LABELS", "check_task"]

LABELS = ("a", "b", "a", "b", "c", "a", "c")


@conformance()
def check_task(
    spec: TaskSpec, folder: Path, *, labels: Sequence[Any] = LABELS, examples: Sequence[Example] = ()
) -> None:
    """Check a task on labels that it can be fitted on, and its preview on examples of its modality."""
    import torch

    options = smoke_options(spec, folder)
    task: Task = spec.build(options)
    state = fitted(task, labels)
    restored: Task = spec.build(options)
    restored.restore(json.loads(json.dumps(state)))
    require(task.outputs == restored.outputs, "restore leads to another number of outputs than fit")
    targets = encoded(task, labels)
    require(torch.equal(targets, encoded(restored, labels)), "restore leads to other targets than fit")
    outputs = torch.randn(len(labels), task.outputs, generator=torch.Generator().manual_seed(0))
    columns = decoded(task, outputs)
    require(columns == decoded(restored, outputs), "restore leads to other predictions than fit")
    alone = [decoded(task, outputs[n : n + 1])["prediction"][0] for n in range(len(outputs))]
    require(_are_same(alone, columns["prediction"]), "decode gives a row another prediction when it is alone")
    _check_loss(task, outputs, targets)
    for count in (len(labels), 1):
        evaluated(task, outputs[:count], targets[:count])
    _check_mistakes(task, outputs, targets, columns["prediction"])
    for example in examples:
        preview = task.preview(example)
        is_png = isinstance(preview, bytes) and preview.startswith(b"\x89PNG\r\n\x1a\n")
        require(isinstance(preview, str) or is_png, f"preview of {example.id} is neither text nor the bytes of a PNG")


def _are_same(one: Sequence[Any], other: Sequence[Any]) -> bool:
    import torch

    if all(isinstance(value, float) for value in (*one, *other)):
        return are_close(torch.tensor(other), torch.tensor(one))
    return list(one) == list(other)


def _check_loss(task: Task, outputs: Tensor, targets: Tensor) -> None:
    import torch

    outputs = outputs.clone().requires_grad_(True)
    loss = loss_of(task, outputs, targets)
    require(bool(torch.isfinite(loss)), f"loss is {loss!r}, which is not finite")
    [gradient] = torch.autograd.grad(loss, outputs)
    require(
        bool(torch.isfinite(gradient).all()) and bool(gradient.any()), "the gradient of the loss is not a direction"
    )
    twice = loss_of(task, torch.cat([outputs, outputs]), torch.cat([targets, targets]))
    require(are_close(twice, loss), "the loss of a batch given twice is another: it must be the mean of its rows")


def _check_mistakes(task: Task, outputs: Tensor, targets: Tensor, predictions: Sequence[Any]) -> None:
    """Check that only wrong predictions count as mistakes; the predictions themselves serve as right answers."""
    mistakes = mistakes_of(task, outputs, targets)
    try:
        right = task.encode(predictions)
    except DataError:  # a prediction that is not a label, such as a ranking
        return
    require(max(mistakes_of(task, outputs, right)) <= TOLERANCE, "mistakes is not zero for what is right")
    wrong = (right != targets).reshape(len(targets), -1).any(dim=1).tolist()
    found = any(mistake for mistake, is_wrong in zip(mistakes, wrong, strict=True) if is_wrong)
    require(not any(wrong) or found, "mistakes is zero for predictions that are wrong")
