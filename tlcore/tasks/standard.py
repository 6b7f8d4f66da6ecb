"""The tasks of tlcore, declared for any modality."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

from tlcore.specs import TaskSpec
from tlcore.tasks.classification import Classification, ClassificationOptions
from tlcore.tasks.multilabel import MultiLabel, MultiLabelOptions
from tlcore.tasks.regression import Regression, RegressionOptions

__all__ = ["standard_tasks"]


def standard_tasks(modality: str, noun: str, preview: Callable[[Any], str | bytes]) -> Iterator[TaskSpec]:
    """Yield classification, multilabel and regression for a modality; their names begin with it.

    ``noun`` is the word for one input in the summaries. ``preview`` takes the input of an example and returns a text or
    the bytes of a small PNG, for reports; it does its heavy imports itself.
    """

    def offered(task: Callable[..., Any], options: type, name: str, summary: str) -> TaskSpec:
        return TaskSpec(
            name=f"{modality}-{name}",
            summary=f"{summary} for each {noun}.",
            modality=modality,
            options=options,
            build=partial(task, preview=preview),
            smoke=lambda folder: options(),
        )

    yield offered(Classification, ClassificationOptions, "classification", "One label")
    yield offered(MultiLabel, MultiLabelOptions, "multilabel", "Any number of labels")
    yield offered(Regression, RegressionOptions, "regression", "A number")
