"""What every rival of training prints: the cost of its epochs, and its scores on the test split."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from benchmarks.machine import Cost

__all__ = ["answer", "answer_forward"]


def answer(epochs: Sequence[Cost], scoring: Cost, labels: Any, predicted: Any) -> None:
    """Print the cost of each epoch and of scoring the test split, its size, accuracy and macro F1."""
    from sklearn.metrics import accuracy_score, f1_score

    said = {
        "epochs": [vars(epoch) for epoch in epochs],
        "scoring": vars(scoring),
        "tested": len(labels),
        "accuracy": float(accuracy_score(labels, predicted)),
        "macro_f1": float(f1_score(labels, predicted, average="macro")),
    }
    print(json.dumps(said))


def answer_forward(cost: Cost) -> None:
    """Print what the bare computation cost."""
    print(json.dumps({"forward": vars(cost)}))
