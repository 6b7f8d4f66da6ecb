"""A finished model on labelled data: its own test split again, or anything new."""

from __future__ import annotations

import dataclasses
import datetime
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tlcore.contracts import Example, Problem, RunFinished, Task
from tlcore.data.dataset import Dataset, split_examples
from tlcore.errors import DataError
from tlcore.evaluation.bootstrap import intervals
from tlcore.evaluation.predictions import prediction_columns, worst_mistakes, write_predictions
from tlcore.files.run_folder import RunFolder
from tlcore.plugins.validation import encoded, evaluated, examples_of
from tlcore.recipe import DataSection, Recipe, plain

if TYPE_CHECKING:
    from torch import Tensor

    from tlcore.model.predict import Model

__all__ = ["Scored", "evaluation_folder", "labelled_examples", "score"]

NEW = "data"
"""What takes the place of a split's name where the data is none that the model was made with."""


@dataclass(frozen=True)
class Scored:
    """What an evaluation gives: its metrics, and all that a report needs."""

    metrics: Mapping[str, Any]
    finished: RunFinished


def labelled_examples(section: DataSection, split: str | None) -> tuple[list[Example], list[Problem]]:
    """Return the labelled examples of a data section, of one split or all of them, and what was left out.

    Raises:
        DataError: no such split, or no example with a label.
    """
    source = section.source.spec.build(section.source.options)
    if split is not None:
        shares = {"validation": section.holdout.validation, "test": section.holdout.test}
        dataset: Dataset = split_examples(source, shares=shares, max_bad=section.max_bad, leaks=section.leaks)
        return dataset.split(split), dataset.problems
    found = list(examples_of(source))
    problems = [one for one in found if isinstance(one, Problem)]
    examples = [one for one in found if isinstance(one, Example)]
    labelled = [dataclasses.replace(one, split=NEW) for one in examples if one.label is not None]
    if not labelled:
        raise DataError(
            "none of the examples has a label to compare with",
            hint="name the column: `--set data.label=COLUMN`; without labels use `tl predict`",
        )
    problems += [Problem(one.id, "it has no label") for one in examples if one.label is None]
    return labelled, problems


def score(
    model: Model,
    examples: Sequence[Example],
    problems: Sequence[Problem],
    files: RunFolder,
    *,
    recipe: Recipe,
    notes: Sequence[str],
    manifest: Mapping[str, Any],
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Scored:
    """Predict and score the examples, and write metrics, predictions, tables and problems.

    Raises:
        DataError: none can be read, or a label that the model does not know.
    """
    task: Task = model.task
    task.encode([example.label for example in examples])
    outputs, unreadable = model.outputs(examples, progress)
    gone = {problem.id for problem in unreadable}
    readable = [example for example in examples if example.id not in gone]
    every = [*problems, *unreadable]
    files.write_problems(every)
    if not readable:
        raise DataError("no example could be read", where=str(files.path / "problems.jsonl"))
    targets = encoded(task, [example.label for example in readable])
    metrics, tables = _scores(task, outputs, targets, recipe.evaluate.resamples, recipe.seed)
    split = readable[0].split or NEW
    files.write_json("metrics.json", {split: metrics})
    for name, table in tables.items():
        files.write_table(name, table)
    write_predictions(files.path / "predictions.parquet", [prediction_columns(task, readable, outputs)])
    mistakes = worst_mistakes(task, readable, outputs, targets, recipe.evaluate.mistakes)
    selection = {"metric": task.selection.metric, "higher_is_better": task.selection.higher_is_better}
    finished = RunFinished(
        folder=files.path,
        recipe=plain(recipe),
        metrics={"test": metrics, "selection": selection},
        history=(),
        tables=tables,
        manifest={**manifest, "counts": {split: len(readable)}, "classes": {}},
        problems=tuple(every),
        mistakes=tuple(mistakes),
        notes=tuple(notes),
    )
    return Scored({split: metrics}, finished)


def evaluation_folder(run: Path, out: Path | None) -> RunFolder:
    """Return where an evaluation writes: ``out``, or a new folder below the run's."""
    return RunFolder.made(out, run / "evaluations", datetime.datetime.now().astimezone())


def _scores(
    task: Task, outputs: Tensor, targets: Tensor, resamples: int, seed: int
) -> tuple[dict[str, Any], Mapping[str, Any]]:
    found = evaluated(task, outputs, targets)
    metrics = dict(found.metrics)
    if resamples:
        metrics["intervals"] = intervals(task, outputs, targets, metrics, resamples=resamples, seed=seed)
    return metrics, found.tables
