"""One label for each example, for any modality."""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from tlcore.contracts import Evaluation, Example, Selection, Table, Task
from tlcore.errors import DataError, RecipeWarning, nearest
from tlcore.specs import option

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["Classification", "ClassificationOptions"]

IMBALANCED = 3.0
"""From this ratio of the commonest class to the rarest on, something should be done about it."""
MOST_AREAS, MOST_CURVES = 50, 10
"""Up to so many classes each gets its areas, or its curves; more could not be read, and would cost time."""


@dataclass(frozen=True, kw_only=True)
class ClassificationOptions:
    """Keys of ``task`` for classification."""

    label_smoothing: float = option(0.0, "Share of each training target that is spread over all classes.", ge=0, lt=1)
    imbalance: Literal["none", "auto", "weights", "sampler", "focal", "logit-adjust"] = option(
        "none",
        "What is done about rare classes: `weights` in the loss, a `sampler` that draws every class equally often, the "
        "`focal` loss, `logit-adjust`ed outputs; `auto` adjusts where one class is more than 3 times as common as "
        "another.",
    )
    focal_gamma: float = option(2.0, "How much less the `focal` loss counts what is easy.", ge=0)
    top_k: int = option(5, "Also score whether the truth is among so many, where there are more classes.", ge=2)


class Classification(Task):
    """One label for each example; labels are names and stay names."""

    selection = Selection("macro_f1")

    def __init__(
        self, options: ClassificationOptions | None = None, preview: Callable[[Any], str | bytes] = str
    ) -> None:
        self.options = options or ClassificationOptions()
        self._preview = preview
        self.classes: tuple[str, ...] = ()
        self.majority = ""
        self._counts: dict[str, int] = {}

    @property
    def outputs(self) -> int:  # type: ignore[override]
        """How many classes there are."""
        return len(self.classes)

    def fit(self, labels: Sequence[Any]) -> dict[str, Any]:
        """Learn the classes, ordered by code point whatever the order of the data.

        Warns where the commonest class has more than three times as many examples as the rarest and nothing is done
        about it.

        Raises:
            DataError: fewer than two classes, or an example with a list of labels.
        """
        if several := next((label for label in labels if isinstance(label, (tuple, list))), None):
            raise DataError(
                f"an example has a list of labels, {list(several)}, where a classification takes one",
                hint="use the multilabel task, or give each example one label (not in a list, no data.label_separator)",
            )
        counts = Counter(map(str, labels))
        if len(counts) < 2:
            found = f"every training example is labelled {next(iter(counts))!r}" if counts else "no training labels"
            raise DataError(
                f"a classifier needs at least two classes: {found}",
                hint="check the label column or the class folders",
            )
        majority = min(counts, key=lambda name: (-counts[name], name))
        rarest = min(counts, key=lambda name: (counts[name], name))
        if self.options.imbalance == "none" and counts[majority] > IMBALANCED * counts[rarest]:
            warnings.warn(
                f"the classes are imbalanced: {counts[majority]} training examples of {majority!r}, {counts[rarest]} "
                f"of {rarest!r}; `--set task.imbalance=auto` makes up for it",
                RecipeWarning,
                stacklevel=2,
            )
        state = {"classes": sorted(counts), "majority": majority, "counts": dict(sorted(counts.items()))}
        self.restore(state)
        return state

    def restore(self, state: Mapping[str, Any]) -> None:
        """Set the classes as ``fit`` left them."""
        self.classes = tuple(state["classes"])
        self.majority = state["majority"]
        self._counts = dict(state.get("counts", {}))

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

    def sampling_weights(self, labels: Sequence[Any]) -> list[float] | None:
        """Return how often each training example is drawn, so that classes come equally often; None if all once."""
        if self.options.imbalance != "sampler":
            return None
        counts = Counter(map(str, labels))
        return [1 / counts[str(label)] for label in labels]

    def loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Return the mean cross-entropy in nats; targets are indices (N,) or shares of each class (N, classes).

        Weights are inverse to the class's frequency, with a mean of 1 over the training examples. The focal loss is
        that of Lin et al., ICCV 2017, equation 4; adjusted logits are those of Menon et al., ICLR 2021, equation 10.
        """
        import torch
        from torch.nn import functional

        outputs, imbalance = outputs.float(), self._imbalance()
        if imbalance == "logit-adjust":
            outputs = outputs + self._shares(outputs).log()
        if imbalance in ("none", "logit-adjust", "sampler"):
            return functional.cross_entropy(outputs, targets, label_smoothing=self.options.label_smoothing)
        shares = targets if targets.is_floating_point() else functional.one_hot(targets, self.outputs).float()
        smoothed = shares * (1 - self.options.label_smoothing) + self.options.label_smoothing / self.outputs
        surprise = -torch.log_softmax(outputs, dim=1)
        if imbalance == "focal":
            surprise = surprise * (1 - (-surprise).exp()).clamp_min(1e-12) ** self.options.focal_gamma
            return (smoothed * surprise).sum(dim=1).mean()
        weights = 1 / (self._shares(outputs) * self.outputs)
        return ((smoothed * surprise).sum(dim=1) * (shares @ weights)).mean()

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
        """Score predictions; macro F1 is over the classes that occur in the truth or among the predictions.

        Areas under the ROC and the precision-recall curve, one class against the rest, are macro means over the classes
        that some, but not all, examples have; where there is none, or more than 50 classes, ``left_out`` says so.
        """
        import numpy
        from torch.nn import functional

        from tlcore.tasks.metrics import calibration, from_confusion

        truth = targets.cpu().numpy()
        probabilities = outputs.double().softmax(dim=1).cpu().numpy()
        guesses = outputs.argmax(dim=1).cpu().numpy()
        count = len(self.classes)
        confusion = numpy.bincount(truth * count + guesses, minlength=count * count).reshape(count, count)
        support, guessed = confusion.sum(axis=1).astype(float), confusion.sum(axis=0).astype(float)
        scores = from_confusion(confusion.diagonal().astype(float), support, guessed)
        ece, bins = calibration(probabilities[numpy.arange(len(truth)), guesses], guesses == truth)
        per_class: dict[str, dict[str, Any]] = {
            name: {
                "precision": float(scores.precision[n]),
                "recall": float(scores.recall[n]),
                "f1": float(scores.f1[n]),
                "support": int(support[n]),
            }
            for n, name in enumerate(self.classes)
        }
        areas, curves = self._areas(probabilities, truth, per_class)
        metrics: dict[str, Any] = {
            "n": len(truth),
            "loss": float(functional.cross_entropy(outputs.double(), targets)),
            "accuracy": float((guesses == truth).mean()),
            "macro_f1": scores.macro_f1(),
            "weighted_f1": scores.weighted_f1(),
            "balanced_accuracy": scores.balanced_accuracy(),
        }
        if count > self.options.top_k:
            best = outputs.topk(self.options.top_k, dim=1).indices.cpu()
            metrics[f"top_{self.options.top_k}"] = float((best == targets.cpu()[:, None]).any(dim=1).double().mean())
        metrics |= areas | {"ece": ece, "per_class": per_class, "majority": self._majority(truth, support)}
        if not areas:
            reason = "only one class occurs" if count <= MOST_AREAS else f"there are more than {MOST_AREAS} classes"
            metrics["left_out"] = dict.fromkeys(("roc_auc", "pr_auc"), reason)
        metrics["absent"] = [name for n, name in enumerate(self.classes) if support[n] == 0]
        rows = tuple((name, *map(int, confusion[n])) for n, name in enumerate(self.classes))
        tables = {
            "confusion": Table(("truth \\ prediction", *self.classes), rows),
            "reliability": Table(("from", "to", "n", "confidence", "accuracy"), tuple(bins)),
        }
        return Evaluation(metrics=metrics, tables=tables | curves)

    def mistakes(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Return the confidence in each wrong prediction, zero for the right ones."""
        best = outputs.double().softmax(dim=1).max(dim=1)
        return best.values * (best.indices != targets)

    def preview(self, example: Example) -> str | bytes:
        """Return the input as ``preview`` shows it: as text unless another function was given."""
        return self._preview(example.input)

    def _imbalance(self) -> str:
        """Return what is done about rare classes.

        ``auto`` adjusts logits rather than weighting the loss: that is consistent for the balanced error, which macro
        scores measure, whereas weights lose their effect on a network that fits its training examples (Byrd and Lipton,
        ICML 2019), and resampling shows the few examples of a rare class so often that they are learnt by heart.
        """
        if self.options.imbalance != "auto":
            return self.options.imbalance
        counts = self._counts.values()
        return "logit-adjust" if counts and max(counts) > IMBALANCED * min(counts) else "none"

    def _shares(self, like: Tensor) -> Tensor:
        """Return the share of each class among the training examples."""
        counts = like.new_tensor([float(self._counts.get(name, 1)) for name in self.classes])
        return counts / counts.sum()

    def _areas(
        self, probabilities: Any, truth: Any, per_class: Mapping[str, dict[str, Any]]
    ) -> tuple[dict[str, float], dict[str, Table]]:
        """Return the mean areas and the curves, and note each class's own areas in ``per_class``."""
        from tlcore.tasks.metrics import Ranking

        roc: list[tuple[Any, ...]] = []
        precision_recall: list[tuple[Any, ...]] = []
        areas: dict[str, list[float]] = {"roc_auc": [], "pr_auc": []}
        for n, name in enumerate(self.classes if self.outputs <= MOST_AREAS else ()):
            ranking = Ranking(probabilities[:, n], truth == n)
            if not ranking.defined:
                continue
            found = {"roc_auc": ranking.roc_area(), "pr_auc": ranking.average_precision()}
            per_class[name].update(found)
            for key, value in found.items():
                areas[key].append(value)
            if self.outputs <= MOST_CURVES:
                points = ranking.curves()
                roc += [(name, *point) for point in points[0]]
                precision_recall += [(name, *point) for point in points[1]]
        means = {key: sum(values) / len(values) for key, values in areas.items() if values}
        if not roc:
            return means, {}
        axes = ("class", "x", "y")
        return means, {"roc": Table(axes, tuple(roc)), "precision_recall": Table(axes, tuple(precision_recall))}

    def _majority(self, truth: Any, support: Any) -> dict[str, Any]:
        """Return how good it would be to always guess the commonest class of the training examples."""
        import numpy

        from tlcore.tasks.metrics import from_confusion

        guessed = numpy.zeros(len(self.classes))
        place = self.classes.index(self.majority)
        guessed[place] = len(truth)
        hits = numpy.where(guessed > 0, support, 0.0)
        return {
            "class": self.majority,
            "accuracy": float(support[place] / max(len(truth), 1)),
            "macro_f1": from_confusion(hits, support, guessed).macro_f1(),
        }
