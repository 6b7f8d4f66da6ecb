"""Several labels for each example, or none, for any modality."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from tlcore.contracts import Evaluation, Example, Selection, Table, Task
from tlcore.errors import DataError, nearest
from tlcore.specs import option

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["MultiLabel", "MultiLabelOptions"]

LARGEST_WEIGHT = 100.0
"""Of a rare label in the loss; beyond it a single example would decide the step."""


@dataclass(frozen=True, kw_only=True)
class MultiLabelOptions:
    """Keys of ``task`` for several labels on one example."""

    threshold: float = option(0.5, "Probability from which on a label is predicted.", gt=0, lt=1)
    imbalance: Literal["none", "weights"] = option(
        "none", "`weights` counts the examples that have a label more, the rarer it is."
    )


class MultiLabel(Task):
    """A set of labels for each example: a tuple of names, which may be empty."""

    selection = Selection("map")

    def __init__(self, options: MultiLabelOptions | None = None, preview: Callable[[Any], str | bytes] = str) -> None:
        self.options = options or MultiLabelOptions()
        self._preview = preview
        self.labels: tuple[str, ...] = ()
        self._shares: dict[str, float] = {}

    @property
    def outputs(self) -> int:  # type: ignore[override]
        """How many labels there are."""
        return len(self.labels)

    def fit(self, labels: Sequence[Any]) -> dict[str, Any]:
        """Learn which labels there are, ordered by code point.

        Raises:
            DataError: no training example has a label.
        """
        counts = Counter(name for found in labels for name in _names(found))
        if not counts:
            raise DataError("no training example has a label", hint="check the label column, or `data.label_separator`")
        state = {"labels": sorted(counts), "shares": {name: counts[name] / len(labels) for name in sorted(counts)}}
        self.restore(state)
        return state

    def restore(self, state: Mapping[str, Any]) -> None:
        """Set the labels as ``fit`` left them."""
        self.labels = tuple(state["labels"])
        self._shares = dict(state["shares"])

    def encode(self, labels: Sequence[Any]) -> Tensor:
        """Return (N, labels), one where an example has the label, fp32.

        Raises:
            DataError: a label that no training example has.
        """
        import torch

        index = {name: n for n, name in enumerate(self.labels)}
        sets = [set(_names(found)) for found in labels]
        unknown = Counter(name for names in sets for name in names if name not in index)
        if unknown:
            name = min(unknown)
            meant = nearest(name, self.labels)
            raise DataError(
                f"label {name!r} stands on {unknown[name]} examples but on none of the training split",
                where=f"training labels: {', '.join(self.labels[:20])}{' …' if len(self.labels) > 20 else ''}",
                hint=f"did you mean {meant!r}?" if meant else "remove it, or add training examples that have it",
            )
        targets = torch.zeros(len(labels), len(self.labels))
        for row, names in enumerate(sets):
            targets[row, [index[name] for name in names]] = 1
        return targets

    def loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Return the binary cross-entropy in nats, summed over the labels, the mean over examples.

        A mean over labels as well would make the gradients smaller, the more labels there are, until weight decay
        outweighs them: settings that are right for 5 labels would then learn nothing of 50.
        """
        from torch.nn import functional

        weights = None
        if self.options.imbalance == "weights":
            shares = outputs.new_tensor([self._shares[name] for name in self.labels]).float()
            weights = ((1 - shares) / shares).clamp(1 / LARGEST_WEIGHT, LARGEST_WEIGHT)
        loss = functional.binary_cross_entropy_with_logits(outputs.float(), targets.float(), pos_weight=weights)
        return loss * self.outputs

    def decode(self, outputs: Tensor) -> dict[str, list[Any]]:
        """Return the labels above the threshold, and the probability of each."""
        probabilities = outputs.double().sigmoid()
        columns: dict[str, list[Any]] = {
            "prediction": [
                [name for name, is_set in zip(self.labels, row, strict=True) if is_set]
                for row in (probabilities >= self.options.threshold).tolist()
            ]
        }
        for n, name in enumerate(self.labels):
            columns[f"probability of {name}"] = probabilities[:, n].tolist()
        return columns

    def evaluate(self, outputs: Tensor, targets: Tensor) -> Evaluation:
        """Score predictions: F1 of each label and their mean, mean average precision, whole sets that are right.

        Means are over the labels that occur in the truth or among the predictions; average precision is over those that
        some example has.
        """
        import numpy
        from torch.nn import functional

        from tlcore.tasks.metrics import Ranking, from_confusion

        probabilities = outputs.double().sigmoid().cpu().numpy()
        truth = targets.cpu().numpy() > 0.5
        guesses = probabilities >= self.options.threshold
        hits = (truth & guesses).sum(axis=0).astype(float)
        scores = from_confusion(hits, truth.sum(axis=0).astype(float), guesses.sum(axis=0).astype(float))
        every = from_confusion(*(numpy.array([part.sum()]) for part in (hits, scores.support, scores.guessed)))
        precisions = {
            name: Ranking(probabilities[:, n], truth[:, n]).average_precision()
            for n, name in enumerate(self.labels)
            if truth[:, n].any()
        }
        rows = tuple(
            (name, int(scores.support[n]), float(scores.precision[n]), float(scores.recall[n]), float(scores.f1[n]),
             precisions.get(name))
            for n, name in enumerate(self.labels)
        )  # fmt: skip
        columns = ("label", "support", "precision", "recall", "f1", "average precision")
        return Evaluation(
            metrics={
                "n": len(truth),
                "loss": float(functional.binary_cross_entropy_with_logits(outputs.double(), targets.double()))
                * self.outputs,
                "macro_f1": scores.macro_f1(),
                "micro_f1": float(every.f1[0]),
                "map": sum(precisions.values()) / len(precisions) if precisions else 0.0,
                "exact": float((truth == guesses).all(axis=1).mean()),
                "absent": [name for name in self.labels if name not in precisions],
                "per_label": {row[0]: dict(zip(columns[1:], row[1:], strict=True)) for row in rows},
            },
            tables={"per_label": Table(columns, rows)},
        )

    def mistakes(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Return how sure the surest wrong label of each example is, zero where the whole set is right."""
        probabilities = outputs.double().sigmoid()
        guessed = probabilities >= self.options.threshold
        wrong = guessed != (targets > 0.5)
        sure = probabilities.where(guessed, 1 - probabilities)
        return (sure * wrong).max(dim=1).values

    def preview(self, example: Example) -> str | bytes:
        """Return the input as ``preview`` shows it: as text unless another function was given."""
        return self._preview(example.input)


def _names(label: Any) -> tuple[str, ...]:
    """Return the names of an example's label; a single name is a set of one."""
    return tuple(map(str, label)) if isinstance(label, (tuple, list, set, frozenset)) else (str(label),)
