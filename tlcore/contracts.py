"""What the parts of a run promise each other: examples, states, and the four kinds of plugin.

This module names torch in annotations only, so a plugin's light module may import it for free.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias, runtime_checkable

if TYPE_CHECKING:
    from torch import Generator, Tensor, nn

__all__ = [
    "HEAD",
    "MASK",
    "SPLITS",
    "Adapter",
    "AugmentsInputs",
    "Backbone",
    "DataSource",
    "EpochFinished",
    "Evaluation",
    "Example",
    "FitsExamples",
    "HasColumns",
    "Injection",
    "MergesInjection",
    "Mistake",
    "ParameterGroup",
    "Phase",
    "Plan",
    "Problem",
    "RunFinished",
    "RunStarted",
    "Selection",
    "State",
    "Table",
    "Task",
    "UsesLibraries",
    "View",
    "WeighsExamples",
]

SPLITS = ("train", "validation", "test")

State: TypeAlias = "dict[str, Tensor]"
"""What flows between stages: named tensors whose first dimension counts the examples of the batch.

A tensor named ``mask`` (N, T) marks the places that hold something; with it, every tensor whose second dimension is T
is ragged: tlcore stores only the marked places and pads with zeros when it batches again.
"""
MASK = "mask"
HEAD = "head"
"""The part of a `ParameterGroup` that is the head."""


@dataclass(frozen=True, slots=True)
class Example:
    """One example as its source gives it; ``input`` stays raw: a path, bytes, a text, numbers."""

    id: str
    input: Any
    label: Any = None
    split: str | None = None
    group: str | None = None
    columns: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Problem:
    """Something in the data that was skipped or is odd, with the reason; a data source may yield it among examples."""

    id: str
    reason: str
    skipped: bool = True


@dataclass(frozen=True)
class View:
    """One augmented version of an example; where a view is asked for, None means the deterministic one."""

    seed: int
    number: int


class DataSource(Protocol):
    """Where examples come from."""

    def examples(self) -> Iterable[Example | Problem]:
        """Yield every example once, in any order, with an id that stays the same when data is added.

        Raises:
            DataError: nothing can be read at all (no file, a missing column).
        """
        ...


@runtime_checkable
class HasColumns(Protocol):
    """Optional, on a data source: rows with columns, of which `tl recipe init` chooses input and label."""

    def columns(self) -> Mapping[str, Sequence[Any]]:
        """Return the cells of each column.

        Raises:
            DataError: as ``examples`` does.
        """
        ...

    def roles(self) -> Mapping[str, str]:
        """Return the column of each key of the recipe, such as ``label``, that is named or has a usual name.

        Raises:
            DataError: a column that is missing, or several that it could be.
        """
        ...


@dataclass(frozen=True)
class Selection:
    """The validation metric that picks the best epoch."""

    metric: str
    higher_is_better: bool = True


@dataclass(frozen=True)
class Table:
    """A table for people and spreadsheets; the run writes it as ``<name>.csv``."""

    columns: tuple[str, ...]
    rows: tuple[tuple[Any, ...], ...]


@dataclass(frozen=True)
class Evaluation:
    """How good the predictions for one split are: JSON-able metrics, and tables by name."""

    metrics: Mapping[str, Any]
    tables: Mapping[str, Table] = field(default_factory=dict)


class Task(Protocol):
    """What is predicted and how it is scored. Nothing here assumes classes."""

    selection: Selection
    outputs: int

    def fit(self, labels: Sequence[Any]) -> Mapping[str, Any]:
        """Learn the targets from the training labels, set ``outputs``, and return what ``restore`` needs (JSON-able).

        Raises:
            DataError: nothing can be learnt from these labels, such as a single class.
        """
        ...

    def restore(self, state: Mapping[str, Any]) -> None:
        """Set the task as ``fit`` left it, from what ``fit`` returned."""
        ...

    def encode(self, labels: Sequence[Any]) -> Tensor:
        """Return the targets of the labels, first dimension N.

        Raises:
            DataError: a label that ``fit`` never saw; the message names it.
        """
        ...

    def loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Return the mean loss of a batch, a scalar, from the head's outputs (N, outputs)."""
        ...

    def decode(self, outputs: Tensor) -> Mapping[str, Sequence[Any]]:
        """Return named columns of N values each for ``predictions.parquet``; the first is ``prediction``."""
        ...

    def evaluate(self, outputs: Tensor, targets: Tensor) -> Evaluation:
        """Score all outputs of one split; ``metrics`` holds at least ``loss``, ``n`` and the selection's metric."""
        ...

    def mistakes(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Return (N,): zero for what is right, and the more wrong, the larger; the report shows the largest."""
        ...

    def preview(self, example: Example) -> str | bytes:
        """Return the example as a person should see it in a report: a text, or the bytes of a small PNG."""
        ...


@runtime_checkable
class WeighsExamples(Protocol):
    """Optional, on a task: training examples are not all drawn equally often."""

    def sampling_weights(self, labels: Sequence[Any]) -> Sequence[float] | Tensor | None:
        """Return how often each example is drawn, relative to the others; None: once each in every epoch."""
        ...


class Backbone(Protocol):
    """A pre-trained network as an ordered list of named stages, and the preparation its weights expect."""

    stages: Mapping[str, nn.Module]
    """From the input to the output stage, in order; each module takes a State and returns a State."""
    feature_dim: int
    """Width of what ``pool`` returns."""
    preparation: Mapping[str, Any]
    """All that decides a prepared value besides the weights and the libraries' versions: JSON-able."""
    lora_targets: Mapping[str, Sequence[str]]
    """For each stage the names of the modules in it that take low-rank matrices; empty where none do."""

    def prepare(self, examples: Sequence[Example], view: View | None = None) -> State:
        """Read raw inputs as the first stage expects them (decode, resize, normalise, tokenise), on the CPU.

        A row must not depend on the other examples, but for padding.

        Raises:
            UnreadableError: an input cannot be read; the run then asks again, one example at a time.
        """
        ...

    def pool(self, state: State) -> Tensor:
        """Return one vector for each example (N, feature_dim) from the last stage's state. It has no parameters."""
        ...

    def mix(self, state: State, targets: Tensor, generator: Generator) -> tuple[State, Tensor]:
        """Blend the examples of a batch for augmentation; a backbone for which it makes no sense raises UsageError."""
        ...

    def save(self, folder: Path) -> None:
        """Write what is needed besides the parameters to build this backbone again (a tokenizer, a configuration)."""
        ...


@runtime_checkable
class FitsExamples(Protocol):
    """Optional, on a backbone: its preparation depends on the training examples, such as their mean color."""

    def fit(self, examples: Sequence[Example]) -> None:
        """Measure the training examples and set ``preparation``; called once, before anything is prepared."""
        ...


@runtime_checkable
class UsesLibraries(Protocol):
    """Optional, on a backbone: which libraries its values depend on; without it, all that its package requires."""

    libraries: Sequence[str]
    """Names of distributions; their versions are part of the keys of the feature cache."""


@runtime_checkable
class AugmentsInputs(Protocol):
    """Optional, on the options of a backbone: training examples are prepared in several views."""

    augment: Any | None
    """How inputs are augmented; None: not at all."""


@runtime_checkable
class MergesInjection(Protocol):
    """Optional, on a stage that an injection made: the saved model does not need the injection."""

    def merged(self) -> nn.Module:
        """Return the stage in its own form, with the change merged into its weights."""
        ...


@dataclass(frozen=True)
class Injection:
    """A change to a stage above the line, made before training: ``apply`` takes the stage and returns its new form."""

    stage: str
    apply: Callable[[nn.Module], nn.Module]


@dataclass(frozen=True)
class ParameterGroup:
    """How the parameters of one stage, or of the head (``head``), are trained beside the others."""

    part: str
    lr_scale: float = 1.0
    weight_decay: float | None = None


@dataclass(frozen=True)
class Phase:
    """From ``epoch`` on (counted from 0) only stages from ``first_trained`` on are trained."""

    epoch: int
    first_trained: int


@dataclass(frozen=True)
class Plan:
    """What an adapter decides.

    ``freeze_line`` is the index of the first stage that is ever trained; the number of stages means that only the head
    is. ``head`` maps (N, feature_dim) to (N, outputs); tlcore standardises the features in front of it. Stages without
    a parameter group are trained at the recipe's learning rate. ``schedule`` may hold trained stages back for a while.
    """

    freeze_line: int
    head: nn.Module
    parameter_groups: tuple[ParameterGroup, ...] = ()
    injections: tuple[Injection, ...] = ()
    schedule: tuple[Phase, ...] = ()


class Adapter(Protocol):
    """Draws the line, injects modules, builds the head and groups the parameters. It knows no modality."""

    def plan(self, backbone: Backbone, outputs: int) -> Plan:
        """Decide how ``backbone`` is adapted to a task with ``outputs`` outputs.

        Raises:
            UsageError: the options do not fit this backbone, such as a stage that it does not have.
        """
        ...


@dataclass(frozen=True)
class RunStarted:
    """What is known when a run begins: its folder, the resolved recipe and how many examples each split has."""

    folder: Path
    recipe: Mapping[str, Any]
    counts: Mapping[str, int]
    notes: Sequence[str]


@dataclass(frozen=True)
class EpochFinished:
    """One line of ``history.jsonl``: training loss, validation metrics, learning rate, seconds."""

    folder: Path
    recipe: Mapping[str, Any]
    epoch: int
    epochs: int
    record: Mapping[str, Any]


@dataclass(frozen=True)
class Mistake:
    """A wrongly predicted test example, as a report shows it."""

    id: str
    label: Any
    prediction: Any
    columns: Mapping[str, Any]
    preview: str | bytes


@dataclass(frozen=True)
class RunFinished:
    """All that a report needs; the same stands in the files of ``folder``."""

    folder: Path
    recipe: Mapping[str, Any]
    metrics: Mapping[str, Any]
    history: Sequence[Mapping[str, Any]]
    tables: Mapping[str, Table]
    manifest: Mapping[str, Any]
    problems: Sequence[Problem]
    mistakes: Sequence[Mistake]
    notes: Sequence[str]
