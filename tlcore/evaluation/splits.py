"""A trained network scored on the splits that it did not learn from: metrics, tables, predictions, worst mistakes."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tlcore.contracts import Mistake, Table, Task
from tlcore.data.dataset import Dataset
from tlcore.evaluation.bootstrap import intervals
from tlcore.evaluation.predictions import prediction_columns, worst_mistakes, write_predictions
from tlcore.plugins.validation import encoded, evaluated
from tlcore.recipe import Recipe
from tlcore.training.trainer import Trainer

__all__ = ["scored_splits"]


def scored_splits(
    recipe: Recipe, trainer: Trainer, task: Task, dataset: Dataset, predictions: Path | None
) -> tuple[dict[str, Any], Mapping[str, Table], list[Mistake]]:
    """Return the metrics of the test and the validation split, and of the test split tables and worst mistakes.

    What is predicted for each example is written to ``predictions``, unless another process does.
    """
    metrics: dict[str, Any] = {}
    tables: Mapping[str, Table] = {}
    mistakes: list[Mistake] = []
    columns = []
    for split in ("test", "validation"):
        examples = dataset.split(split)
        targets = encoded(task, [example.label for example in examples])
        outputs = trainer.evaluator.outputs(examples)
        evaluation = evaluated(task, outputs, targets)
        metrics[split] = dict(evaluation.metrics)
        columns.append(prediction_columns(task, examples, outputs))
        if split == "test":
            if resamples := recipe.evaluate.resamples:
                metrics[split]["intervals"] = intervals(
                    task, outputs, targets, metrics[split], resamples=resamples, seed=recipe.seed
                )
            tables = evaluation.tables
            mistakes = worst_mistakes(task, examples, outputs, targets, recipe.evaluate.mistakes)
    if predictions is not None:
        write_predictions(predictions, columns)
    return metrics, tables, mistakes
