"""Scores that a library computes too slowly for every epoch and every bootstrap sample; equal to scikit-learn's."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy
    from numpy.typing import NDArray

    Floats = NDArray[numpy.float64]

__all__ = ["ClassScores", "Ranking", "calibration", "from_confusion"]

CURVE_POINTS = 60
BINS = 15


@dataclass(frozen=True)
class ClassScores:
    """Precision, recall and F1 of each class, zero where undefined, and how often each occurs."""

    precision: Floats
    recall: Floats
    f1: Floats
    support: Floats
    guessed: Floats

    @property
    def occurring(self) -> NDArray[numpy.bool_]:
        """Which classes occur in the truth or among the predictions."""
        return (self.support + self.guessed) > 0

    def macro_f1(self) -> float:
        """Return the mean F1 over the classes that occur."""
        return float(self.f1[self.occurring].mean()) if self.occurring.any() else 0.0

    def weighted_f1(self) -> float:
        """Return the mean F1 weighted by how often each class is true."""
        return float((self.f1 * self.support).sum() / max(self.support.sum(), 1))

    def balanced_accuracy(self) -> float:
        """Return the mean recall over the classes of the truth."""
        present = self.support > 0
        return float(self.recall[present].mean()) if present.any() else 0.0


def from_confusion(hits: Floats, support: Floats, guessed: Floats) -> ClassScores:
    """Return the scores from how often each class was rightly predicted, is true, and was predicted."""
    import numpy

    def share(part: Floats, whole: Floats) -> Floats:
        return numpy.divide(part, whole, out=numpy.zeros(len(whole)), where=whole > 0)

    return ClassScores(share(hits, guessed), share(hits, support), share(2 * hits, support + guessed), support, guessed)


class Ranking:
    """Examples in the order of one score, as ROC and precision-recall see them; equal scores count as one step."""

    def __init__(self, scores: Floats, positive: NDArray[numpy.bool_]) -> None:
        import numpy

        order = numpy.argsort(-scores)  # the order among equals does not matter
        ordered = scores[order]
        ends = numpy.flatnonzero(numpy.append(ordered[1:] != ordered[:-1], True)) if len(ordered) else order
        self._hits = numpy.cumsum(positive[order])[ends].astype(numpy.float64)
        self._taken = ends + 1.0
        self.positives = float(positive.sum())
        self.negatives = float(len(positive) - positive.sum())

    @property
    def defined(self) -> bool:
        """Whether there is anything to tell apart."""
        return self.positives > 0 and self.negatives > 0

    def roc_area(self) -> float:
        """Return the area under the receiver operating characteristic, by trapezoids."""
        import numpy

        hits = numpy.concatenate([[0.0], self._hits])
        false = numpy.concatenate([[0.0], self._taken - self._hits])
        return float(numpy.trapezoid(hits, false) / (self.positives * self.negatives))

    def average_precision(self) -> float:
        """Return the area under the precision-recall steps."""
        import numpy

        gained = numpy.diff(self._hits, prepend=0.0)
        return float((gained * self._hits / self._taken).sum() / self.positives)

    def curves(self) -> tuple[list[tuple[float, float]], list[tuple[float, float]]]:
        """Return points of (false positive rate, recall) and of (recall, precision), at most 61 of each.

        They lie evenly along the ROC curve, so that a rare class, whose curve rises among the first few examples, is
        drawn as well as a common one.
        """
        import numpy

        way = self._hits / self.positives + (self._taken - self._hits) / self.negatives
        picked = numpy.searchsorted(way, numpy.linspace(way[0], way[-1], CURVE_POINTS))
        picked = numpy.unique(picked.clip(max=len(way) - 1))
        hits, taken = self._hits[picked], self._taken[picked]
        recall = hits / self.positives
        roc = [(0.0, 0.0), *zip(((taken - hits) / self.negatives).tolist(), recall.tolist(), strict=True)]
        return roc, list(zip(recall.tolist(), (hits / taken).tolist(), strict=True))


def calibration(confidence: Floats, right: NDArray[numpy.bool_]) -> tuple[float, list[tuple[Any, ...]]]:
    """Return the expected calibration error, and for each bin its bounds, count, mean confidence and accuracy.

    Guo et al., On Calibration of Modern Neural Networks, ICML 2017, equation 3; 15 bins of equal width.

    Raises:
        ValueError: a confidence that is not finite, which numpy would count in memory that is not its own.
    """
    import numpy

    if not numpy.isfinite(confidence).all():
        raise ValueError("a confidence is not finite")
    place = numpy.clip(numpy.ceil(confidence * BINS), 1, BINS).astype(int) - 1
    counts = numpy.bincount(place, minlength=BINS)
    sure = numpy.bincount(place, confidence, minlength=BINS)
    hits = numpy.bincount(place, right.astype(numpy.float64), minlength=BINS)
    rows = [
        (n / BINS, (n + 1) / BINS, int(counts[n]), float(sure[n] / counts[n]), float(hits[n] / counts[n]))
        for n in range(BINS)
        if counts[n]
    ]
    return float(numpy.abs(hits - sure).sum() / max(len(confidence), 1)), rows
