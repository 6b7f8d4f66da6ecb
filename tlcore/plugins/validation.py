"""One validator for each method of the contracts: call it, check the shape of what it returns, name the plugin.

Runs call plugins through these functions, and so does the conformance kit. Each raises a PluginError that names the
class and the method where what is returned would make a run wrong or end it somewhere else.
"""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from tlcore.contracts import (
    HEAD,
    MASK,
    Adapter,
    Backbone,
    DataSource,
    Evaluation,
    Example,
    Injection,
    ParameterGroup,
    Phase,
    Plan,
    Problem,
    Selection,
    State,
    Table,
    Task,
    View,
    WeighsExamples,
)
from tlcore.errors import NumericError, PluginError
from tlcore.plugins.errors import broken

if TYPE_CHECKING:
    from torch import Tensor, nn

__all__ = [
    "decoded",
    "encoded",
    "evaluated",
    "examples_of",
    "fitted",
    "loss_of",
    "mistakes_of",
    "planned",
    "pooled",
    "prepared_by",
    "require_backbone",
    "require_outputs",
    "require_state",
    "sampling_weights_of",
]

LONGEST_TABLE_NAME = 100
OURS = ("id", "split", "label")
"""Columns of the predictions that tlcore writes itself."""


def examples_of(source: DataSource) -> Iterator[Example | Problem]:
    """Yield what a data source gives."""
    found = source.examples()
    if not isinstance(found, Iterable):
        raise broken(source, "examples", f"gave {_kind(found)}, and not examples")
    for item in found:
        if isinstance(item, Example):
            _require_example(source, item)
        elif not isinstance(item, Problem):
            raise broken(source, "examples", f"gave {_kind(item)}, which is neither an Example nor a Problem")
        yield item


def _require_example(source: DataSource, example: Example) -> None:
    def require(kept: bool, what: str) -> None:
        if not kept:
            raise broken(source, "examples", f"gave {what}")

    id_ = example.id
    require(type(id_) is str and id_ != "", f"an example whose id, {id_!r}, is not a text of one character or more")
    require(
        id_.isascii() or not any("\ud800" <= letter <= "\udfff" for letter in id_),
        f"an example whose id, {id_!r}, is not a text that can be written",
    )
    for name, value in (("split", example.split), ("group", example.group)):
        require(value is None or isinstance(value, str), f"the example {id_!r} a {name} that is {_kind(value)}")
    require(isinstance(example.columns, Mapping), f"the example {id_!r} columns that are {_kind(example.columns)}")
    require(
        _is_label(example.label),
        f"the example {id_!r} a label that is {_kind(example.label)}; labels are texts, numbers, or several texts",
    )


def _is_label(label: Any) -> bool:
    if label is None or isinstance(label, (str, int, float)):
        return True
    if isinstance(label, (tuple, list, set, frozenset)):
        return all(isinstance(one, (str, int, float)) for one in label)
    return type(label).__module__ == "numpy" and not getattr(label, "shape", ())


def fitted(task: Task, labels: Sequence[Any]) -> Mapping[str, Any]:
    """Let a task learn its targets; return what it wants to be restored from."""
    if not callable(getattr(task, "fit", None)):
        raise broken(task, "fit", "is not there, so this is not a task: its `build` must return one")
    state = task.fit(labels)
    if not isinstance(state, Mapping):
        raise broken(task, "fit", f"gave {_kind(state)}, and not a mapping to restore it from")
    _require_json(task, "fit", state)
    if type(task.outputs) is not int or task.outputs < 1:
        raise broken(task, "outputs", f"is {task.outputs!r} after fitting, and not a whole number from 1 on")
    if not isinstance(task.selection, Selection):
        raise broken(task, "selection", f"is {_kind(task.selection)}, and not a tlcore.Selection")
    return state


def encoded(task: Task, labels: Sequence[Any]) -> Tensor:
    """Return the targets of labels, one row for each."""
    targets = task.encode(labels)
    _require_rows(task, "encode", targets, len(labels), "labels")
    return targets


def loss_of(task: Task, outputs: Tensor, targets: Tensor) -> Tensor:
    """Return the loss of a batch, from which gradients flow back."""
    import torch

    loss = task.loss(outputs, targets)
    if not isinstance(loss, torch.Tensor) or loss.dim() or not loss.is_floating_point():
        raise broken(task, "loss", f"gave {_kind(loss)}, and not the mean loss of the batch as one real number")
    if not loss.requires_grad and outputs.requires_grad:
        raise broken(task, "loss", "gave a number through which no gradient flows back")
    if not loss.requires_grad:
        raise PluginError(
            "no gradient flows back from the outputs",
            hint="a stage or the head uses detach() or no_grad(), or a plugin called torch.set_grad_enabled(False)",
        )
    return loss


def evaluated(task: Task, outputs: Tensor, targets: Tensor) -> Evaluation:
    """Return how good outputs are.

    Raises:
        NumericError: a metric is not finite.
    """
    found = task.evaluate(outputs, targets)
    if not isinstance(found, Evaluation) or not isinstance(found.metrics, Mapping):
        raise broken(task, "evaluate", f"gave {_kind(found)}, and not a tlcore.Evaluation")
    for name, value in found.metrics.items():
        if isinstance(value, float) and not math.isfinite(value):
            raise NumericError(
                f"{name} is {value}",
                where=f"by {type(task).__qualname__}.evaluate, of {len(targets)} examples",
                hint="try a smaller learning rate; a task leaves a metric out that is undefined",
            )
    _require_json(task, "evaluate", found.metrics)
    for name in ("loss", "n", task.selection.metric):
        value = found.metrics.get(name)
        if type(value) is bool or not isinstance(value, (int, float)):
            said = f"{value!r} as its {name}" if name in found.metrics else f"no {name}, but {', '.join(found.metrics)}"
            raise broken(task, "evaluate", f"gave {said}; loss, n and the selection's metric must be numbers")
    if found.metrics["n"] != len(targets):
        raise broken(task, "evaluate", f"counted {found.metrics['n']} examples as n, not {len(targets)}")
    for name, table in found.tables.items():
        if not isinstance(table, Table):
            raise broken(task, "evaluate", f"gave {_kind(table)} as the table {name!r}, and not a tlcore.Table")
        if not _is_table_name(name):
            raise broken(
                task,
                "evaluate",
                f"named a table {name!r}; a name has letters, digits, - and _ only, {LONGEST_TABLE_NAME} at most",
            )
        if any(len(row) != len(table.columns) for row in table.rows):
            raise broken(task, "evaluate", f"gave a row of the table {name!r} more or fewer cells than it has columns")
    return found


def _is_table_name(name: str) -> bool:
    """Say whether a table can be called so: it is to be a file's name everywhere."""
    return len(name.encode()) <= LONGEST_TABLE_NAME and name.replace("-", "").replace("_", "").isalnum()


def decoded(task: Task, outputs: Tensor) -> dict[str, list[Any]]:
    """Return the columns that a task makes of outputs, one value for each row."""
    found = task.decode(outputs)
    if not isinstance(found, Mapping) or next(iter(found), None) != "prediction":
        raise broken(task, "decode", f"gave {_kind(found)}, and not columns of which the first is `prediction`")
    if bad := next((name for name in found if not isinstance(name, str) or name in OURS), None):
        raise broken(task, "decode", f"named a column {bad!r}; {', '.join(OURS)} are tlcore's own, and names are texts")
    columns = {name: list(values) for name, values in found.items()}
    for name, values in columns.items():
        if len(values) != len(outputs):
            raise broken(task, "decode", f"gave {len(values)} values of {name!r} for {len(outputs)} examples")
        kinds = {kind for kind in map(type, values) if kind is not type(None)}
        if not all(kind.__module__ in ("builtins", "numpy", "datetime", "decimal") for kind in kinds):
            raise broken(task, "decode", f"gave values of {name!r} that are not plain ones: {_kind(values[0])}")
        if len(kinds) > 1 and not kinds <= {int, float}:
            mixed = " and ".join(sorted(kind.__name__ for kind in kinds))
            raise broken(task, "decode", f"gave values of {name!r} of several types, which no column can hold: {mixed}")
    return columns


def mistakes_of(task: Task, outputs: Tensor, targets: Tensor) -> list[float]:
    """Return how wrong each example is."""
    import torch

    found = task.mistakes(outputs, targets)
    _require_rows(task, "mistakes", found, len(targets), "examples")
    if found.dim() != 1 or not bool((torch.isfinite(found) & (found >= 0)).all()):
        raise broken(task, "mistakes", f"gave {_kind(found)}, and not one finite number from 0 on for each example")
    return list(found.tolist())


def sampling_weights_of(task: Task, labels: Sequence[Any]) -> Tensor | None:
    """Return how often each example is drawn, where the task wishes for more than once each."""
    import torch

    weights = task.sampling_weights(labels) if isinstance(task, WeighsExamples) else None
    if weights is None:
        return None
    if not isinstance(weights, (torch.Tensor, list, tuple)) or len(weights) != len(labels):
        raise broken(task, "sampling_weights", f"gave {_kind(weights)}, and not one weight for {len(labels)} examples")
    found = torch.as_tensor(weights, dtype=torch.float64)
    if not bool(torch.isfinite(found).all()) or bool((found < 0).any()) or not bool((found > 0).any()):
        raise broken(task, "sampling_weights", "gave weights that are below 0, not finite, or all 0")
    return found


def require_backbone(backbone: Backbone) -> None:
    """Refuse a backbone that does not say what it is made of."""
    from torch import nn

    stages = getattr(backbone, "stages", None)
    if backbone is None:
        raise PluginError("what builds the backbone gave None", hint="that is for who wrote the plugin to mend")
    if not isinstance(stages, Mapping) or not stages:
        raise broken(backbone, "stages", f"is {_kind(stages)}, and not a mapping of names to modules")
    for name, stage in stages.items():
        if not isinstance(name, str) or not isinstance(stage, nn.Module):
            raise broken(backbone, "stages", f"has {_kind(stage)} as {name!r}, and not a module under a name")
    width = getattr(backbone, "feature_dim", None)
    if type(width) is not int or width < 1:
        raise broken(backbone, "feature_dim", f"is {width!r}, and not a whole number from 1 on")
    preparation = getattr(backbone, "preparation", None)
    if not isinstance(preparation, Mapping):
        raise broken(backbone, "preparation", f"is {_kind(preparation)}, and not a mapping")
    _require_json(backbone, "preparation", preparation)


def prepared_by(backbone: Backbone, examples: Sequence[Example], view: View | None) -> State:
    """Return the state in front of the first stage, one row for each example.

    Raises:
        UnreadableError: an input cannot be read.
    """
    import torch

    state = backbone.prepare(examples, view)
    require_state(backbone, "prepare", state, len(examples))
    for name, values in state.items():
        if values.device.type != "cpu" or values.layout != torch.strided:
            raise broken(backbone, "prepare", f"gave {_kind(values)} as {name!r}, and not a dense tensor on the CPU")
    if MASK in state and not bool(state[MASK].bool().any(dim=1).all()):
        raise broken(backbone, "prepare", "gave a mask that marks no place of an example")
    return state


def require_state(part: object, method: str, state: Any, count: int) -> None:
    """Raise unless ``state`` is a dict of named tensors of ``count`` rows, with a mask (N, T) if any."""
    if not isinstance(state, dict) or not state:
        raise broken(part, method, f"gave {_kind(state)}, and not a dict of named tensors")
    for name, values in state.items():
        if not isinstance(name, str):
            raise broken(part, method, f"named a tensor {name!r}, which is not a text")
        _require_rows(part, method, values, count, "examples", name)
    if MASK in state and state[MASK].dim() != 2:
        raise broken(part, method, f"gave {_kind(state[MASK])} as the mask, which must be (N, T)")


def pooled(backbone: Backbone, state: State) -> Tensor:
    """Return the features of a state, (N, feature_dim)."""
    features = backbone.pool(state)
    rows = len(next(iter(state.values())))
    _require_rows(backbone, "pool", features, rows, "examples")
    if features.dim() != 2 or features.shape[1] != backbone.feature_dim or not features.is_floating_point():
        raise broken(backbone, "pool", f"gave {_kind(features)}, while feature_dim is {backbone.feature_dim}")
    return features


def require_outputs(outputs: Tensor, count: int, task: Task, backbone: Backbone) -> None:
    """Refuse outputs that are not (N, outputs)."""
    if outputs.shape != (count, task.outputs):
        raise broken(backbone, "stages", f"and the head made {_kind(outputs)} of {count} examples in training")


def planned(adapter: Adapter, backbone: Backbone, outputs: int) -> Plan:
    """Return an adapter's plan, read once; the backbone must be as it was.

    Raises:
        UsageError: the options do not fit this backbone.
    """
    before = _standing(backbone)
    found = adapter.plan(backbone, outputs)
    if not isinstance(found, Plan):
        raise broken(adapter, "plan", f"gave {_kind(found)}, and not a tlcore.Plan")
    if _standing(backbone) != before:
        raise broken(adapter, "plan", "changed the backbone; a change to a stage is the `apply` of an Injection")
    plan = Plan(
        found.freeze_line,
        found.head,
        tuple(found.parameter_groups),
        tuple(found.injections),
        tuple(found.schedule),
    )
    _require_plan(adapter, plan, list(backbone.stages))
    _require_head(adapter, plan.head, backbone.feature_dim, outputs)
    return plan


def _standing(backbone: Backbone) -> list[Any]:
    """Return what tells whether stages or weights were exchanged or changed in place."""
    return [
        (name, id(stage), [(id(tensor), tensor._version) for tensor in (*stage.parameters(), *stage.buffers())])
        for name, stage in backbone.stages.items()
    ]


def _require_plan(adapter: Adapter, plan: Plan, stages: Sequence[str]) -> None:
    from torch import nn

    def require(kept: bool, what: str) -> None:
        if not kept:
            raise broken(adapter, "plan", what)

    line, count = plan.freeze_line, len(stages)
    require(type(line) is int and 0 <= line <= count, f"drew its line at {line!r}, outside of 0 to {count}")
    require(isinstance(plan.head, nn.Module), f"gave {_kind(plan.head)} as the head, and not a module")
    for kind, records in (
        (ParameterGroup, plan.parameter_groups),
        (Injection, plan.injections),
        (Phase, plan.schedule),
    ):
        for record in records:
            require(isinstance(record, kind), f"gave {_kind(record)} where a tlcore.{kind.__name__} belongs")
    parts, trained = [group.part for group in plan.parameter_groups], (*stages[line:], HEAD)
    require(len(set(parts)) == len(parts), f"grouped the parameters of one part twice: {', '.join(map(str, parts))}")
    for group in plan.parameter_groups:
        require(group.part in trained, f"groups the parameters of {group.part!r}; trained are {', '.join(trained)}")
        require(_is_rate(group.lr_scale), f"scaled the learning rate of {group.part} by {group.lr_scale!r}")
        decay = group.weight_decay
        require(decay is None or _is_rate(decay), f"gave {group.part} a weight decay of {decay!r}")
    for injection in plan.injections:
        require(
            injection.stage in stages[line:],
            f"changes {injection.stage!r}, which is not a stage above its line: {', '.join(stages[line:])}",
        )
        require(callable(injection.apply), f"changes {injection.stage!r} by {_kind(injection.apply)}")
    for phase in plan.schedule:
        sound = type(phase.epoch) is int and type(phase.first_trained) is int
        require(
            sound and phase.epoch >= 0 and line <= phase.first_trained <= count,
            f"gave a phase from epoch {phase.epoch!r} on that trains from stage {phase.first_trained!r} on, which is "
            f"outside of {line} to {count}",
        )


def _require_head(adapter: Adapter, head: nn.Module, width: int, outputs: int) -> None:
    """Try a head on features of two examples, as it is when it is not trained."""
    import torch

    training = head.training
    try:
        with torch.no_grad():
            found = head.eval()(torch.zeros(2, width, dtype=torch.float32))
    except (RuntimeError, ValueError, TypeError, IndexError) as error:
        reason = next(iter(str(error).splitlines()), "")
        raise broken(adapter, "plan", f"gave a head that cannot take [2, {width}] of float32: {reason}") from error
    finally:
        head.train(training)
    if not isinstance(found, torch.Tensor) or found.shape != (2, outputs):
        raise broken(adapter, "plan", f"gave a head that makes {_kind(found)} of 2 examples, for {outputs} outputs")


def _is_rate(value: Any) -> bool:
    return isinstance(value, (int, float)) and math.isfinite(value) and value >= 0


def _require_rows(part: object, method: str, found: Any, count: int, of: str, name: str = "") -> None:
    import torch

    called = f" as {name!r}" if name else ""
    if not isinstance(found, torch.Tensor):
        raise broken(part, method, f"gave {_kind(found)}{called}, and not a tensor")
    if not found.dim() or len(found) != count:
        raise broken(part, method, f"gave {_kind(found)}{called} for {count} {of}, and not one row for each")


def _require_json(part: object, method: str, found: Mapping[Any, Any]) -> None:
    """Refuse what cannot be written down as JSON; what is not finite cannot either."""
    for name, value in found.items():
        if not isinstance(name, str):
            raise broken(part, method, f"has {name!r} as a key, which is not a text")
        try:
            json.dumps(value, allow_nan=False)
        except (TypeError, ValueError, RecursionError) as error:
            raise broken(part, method, f"gave a {name!r} that cannot be written as JSON: {error}") from error


def _kind(value: Any) -> str:
    """Return in words what something is that should be something else."""
    torch: Any = sys.modules.get("torch")
    if torch is not None and isinstance(value, torch.Tensor):
        return f"a tensor {list(value.shape)} of {str(value.dtype).removeprefix('torch.')} on {value.device}"
    if value is None:
        return "None"
    if isinstance(value, type):
        return f"the class {value.__qualname__}"
    return f"a value of type {type(value).__name__}"
