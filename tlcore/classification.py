"""Classification for any modality: everything of a task but how an example looks in a report."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from tlcore.contracts import Evaluation, Example, Selection, Table, Task
from tlcore.errors import DataError, nearest

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["Classification", "expected_calibration_error"]


class Classification(Task):
    """One label for each example; labels are names and stay names. A plugin's task adds ``preview``."""

    selection = Selection("macro_f1")

    def __init__(self) -> None:
        self.classes: tuple[str, ...] = ()
        self.majority = ""

    @property
    def outputs(self) -> int:  # type: ignore[override]
        """How many classes there are."""
        return len(self.classes)

    def fit(self, labels: Sequence[Any]) -> dict[str, Any]:
        """Learn the classes, ordered by code point whatever the order of the data.

        Raises:
            DataError: fewer than two classes.
        """
        counts = Counter(map(str, labels))
        if len(counts) < 2:
            found = f"every training example is labelled {next(iter(counts))!r}" if counts else "no training labels"
            raise DataError(
                f"a classifier needs at least two classes: {found}",
                hint="check the label column or the class folders",
            )
        majority = min(counts, key=lambda name: (-counts[name], name))
        state = {"classes": sorted(counts), "majority": majority}
        self.restore(state)
        return state

    def restore(self, state: Mapping[str, Any]) -> None:
        """Set the classes as ``fit`` left them."""
        self.classes = tuple(state["classes"])
        self.majority = state["majority"]

    def encode(self, labels: Sequence[Any]) -> Tensor:
        """Return class indices (N,), int64.

        Raises:
            DataError: a label that no training example has.
        """
        import torch

        index = {name: n for n, name in enumerate(self.classes)}
        unknown = Counter(str(label) for label in labels if str(label) not in index)
        if unknown:
            name = min(unknown)
            meant = nearest(name, self.classes)
            raise DataError(
                f"label {name!r} stands on {unknown[name]} examples but on none of the training split",
                where=f"training classes: {', '.join(self.classes[:20])}{' …' if len(self.classes) > 20 else ''}",
                hint=f"did you mean {meant!r}?"
                if meant
                else "remove these examples, or add some to the training split",
            )
        return torch.tensor([index[str(label)] for label in labels], dtype=torch.int64)

    def loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Return the mean cross-entropy in nats."""
        from torch.nn import functional

        return functional.cross_entropy(outputs.float(), targets)

    def decode(self, outputs: Tensor) -> dict[str, list[Any]]:
        """Return the predicted label, its probability and the probability of each class."""
        probabilities = outputs.double().softmax(dim=1)
        best = probabilities.max(dim=1)
        columns: dict[str, list[Any]] = {
            "prediction": [self.classes[n] for n in best.indices.tolist()],
            "confidence": best.values.tolist(),
        }
        for n, name in enumerate(self.classes):
            columns[f"probability of {name}"] = probabilities[:, n].tolist()
        return columns

    def evaluate(self, outputs: Tensor, targets: Tensor) -> Evaluation:
        """Score with scikit-learn: macro F1 is over the classes that occur in the truth or the predictions."""
        import numpy
        from sklearn import metrics
        from torch.nn import functional

        truth = targets.cpu().numpy()
        guesses = outputs.argmax(dim=1).cpu().numpy()
        every = numpy.arange(len(self.classes))
        precision, recall, f1, support = metrics.precision_recall_fscore_support(
            truth, guesses, labels=every, zero_division=0
        )
        majority = numpy.full_like(truth, self.classes.index(self.majority))
        confusion = metrics.confusion_matrix(truth, guesses, labels=every)
        return Evaluation(
            metrics={
                "n": len(truth),
                "loss": float(functional.cross_entropy(outputs.double(), targets)),
                "accuracy": float(metrics.accuracy_score(truth, guesses)),
                "macro_f1": float(metrics.f1_score(truth, guesses, average="macro", zero_division=0)),
                "ece": expected_calibration_error(outputs, targets),
                "per_class": {
                    name: {
                        "precision": float(precision[n]),
                        "recall": float(recall[n]),
                        "f1": float(f1[n]),
                        "support": int(support[n]),
                    }
                    for n, name in enumerate(self.classes)
                },
                "majority": {
                    "class": self.majority,
                    "accuracy": float(metrics.accuracy_score(truth, majority)),
                    "macro_f1": float(metrics.f1_score(truth, majority, average="macro", zero_division=0)),
                },
                "absent": [name for n, name in enumerate(self.classes) if support[n] == 0],
            },
            tables={
                "confusion": Table(
                    columns=("truth \\ prediction", *self.classes),
                    rows=tuple((name, *map(int, confusion[n])) for n, name in enumerate(self.classes)),
                )
            },
        )

    def mistakes(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Return the confidence in each wrong prediction, zero for the right ones."""
        best = outputs.double().softmax(dim=1).max(dim=1)
        return best.values * (best.indices != targets)

    def preview(self, example: Example) -> str | bytes:
        """Return the input as text; a modality that has a better picture of itself overrides this."""
        return str(example.input)


def expected_calibration_error(outputs: Tensor, targets: Tensor, bins: int = 15) -> float:
    """Return the gap between confidence and accuracy, averaged over equal-width bins of confidence.

    Guo et al., On Calibration of Modern Neural Networks, ICML 2017, equation 3.
    """
    import torch

    best = outputs.double().softmax(dim=1).max(dim=1)
    right = (best.indices == targets).double()
    place = (best.values * bins).ceil().clamp(1, bins).long() - 1
    gap = torch.zeros(bins, dtype=torch.float64, device=right.device).index_add_(0, place, right - best.values)
    return float(gap.abs().sum() / max(len(targets), 1))
