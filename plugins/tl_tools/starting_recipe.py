"""The text of the recipe that `tl recipe init` writes: a line for each choice, and beside it why and what else."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from tl_tools.data_facts import Facts
from tlcore.cli.layout import harmless

__all__ = ["Choices", "starting_recipe"]

IMBALANCED = 3.0
TRAINING_SHARE = 0.7
STEPS = 10
MANY_EXAMPLES = 20_000
PLAIN = re.compile(r"(?!(?:true|false|null|yes|no|on|off|y|n)$)[A-Za-z_./][\w./-]*", re.IGNORECASE | re.ASCII)
"""What YAML takes for a text without quotation marks."""
ABOUT_DATA = {
    "source": "`tl show data NAME` lists the keys of a source, such as limit",
    "path": "relative to where `tl run` is called",
    "input": "the column that the network reads",
    "input_is": "the inputs are files; paths are relative to the table's folder",
    "label": "the column to predict",
    "label_is": "one number is written in several ways",
    "split": "the column that says train, validation or test",
    "group": "what stands together in one split",
    "id": "the column that names a row",
}


@dataclass(frozen=True)
class Choices:
    """What was chosen for the data.

    ``others`` says which backbones there are beside the recommended one; ``imbalance``: whether the task can make up
    for rare classes.
    """

    task: str
    backbone: str
    others: str
    weights: str | None
    learning_rate: float
    imbalance: bool


def starting_recipe(file: Path, facts: Facts, findings: Sequence[str], choices: Choices) -> str:
    """Return the recipe with a comment on each choice."""
    rows = [*_rows_of_task(facts, choices), *_rows_of_data(facts), *_rows_of_network(choices), *_rows_of_training(facts,
            choices)]  # fmt: skip
    width = max(len(line) for line, comment in rows if comment and len(line) < 60)
    lines = [f"{line:<{width}}  # {comment}" if comment else line for line, comment in rows]
    head = ["# " + _one_line(finding) for finding in findings]
    return "\n".join([_one_line(f"# Made by `tl recipe init`. Run it with `tl run {file}`; docs/recipe.md lists every "
                                "key."), "#", *head, "", *lines, ""])  # fmt: skip


Rows = list[tuple[str, str]]


def _rows_of_task(facts: Facts, choices: Choices) -> Rows:
    counts = facts.counts
    uneven = facts.kind == "classification" and max(counts.values()) > IMBALANCED * min(counts.values())
    if uneven and choices.imbalance:
        why = f"rare classes are made up for, since some are more than {IMBALANCED:g} times as common as others"
        return [(f"task: {{name: {choices.task}, imbalance: auto}}", why), ("", "")]
    return [(f"task: {choices.task}", "`tl list tasks` shows the others"), ("", "")]


def _rows_of_data(facts: Facts) -> Rows:
    keys = [(f"  {key}: {_value(value)}", ABOUT_DATA.get(key, "")) for key, value in facts.section.items()]
    return [("data:", ""), *keys, ("", "")]


def _rows_of_network(choices: Choices) -> Rows:
    named = f"{{name: {choices.backbone}, weights: {_value(choices.weights)}}}" if choices.weights else choices.backbone
    return [
        (f"backbone: {named}", choices.others or "`tl list backbones` shows the others"),
        ("", ""),
        (
            "adapter: feature-extraction",
            "only a new head is trained; next try {name: fine-tuning, layers: 1, unfreeze: head-first}",
        ),
        ("", ""),
    ]


def _rows_of_training(facts: Facts, choices: Choices) -> Rows:
    split = [example.split for example in facts.examples]
    count = sum(name == "train" for name in split) or int(TRAINING_SHARE * len(split))
    batch = next((size for size in (32, 16) if count >= STEPS * size), 8)
    why = (
        "enough for steady steps" if batch == 32 else f"few examples: smaller batches give about {STEPS} steps an epoch"
    )
    epochs, reason = (
        (10, "many examples: each epoch has many steps")
        if count > MANY_EXAMPLES
        else (25, "cheap here: the network sees each example only once")
    )
    return [
        ("train:", ""),
        (f"  epochs: {epochs}", reason),
        (f"  batch_size: {batch}", why),
        (
            f"  optimizer: {{name: adam, lr: {_rate(choices.learning_rate)}}}",
            "`train.lr: find` measures a rate",
        ),
        ("  scheduler: {name: cosine}", "the learning rate falls smoothly to the end"),
        ("  precision: auto", "bf16 where the device is fast in it and the features survive"),
        ("", ""),
        ("evaluate:", ""),
        ("  report: html", "one file to look at"),
        ("", ""),
        ("seed: 7", "another number gives another split and another start"),
    ]


def _rate(rate: float) -> str:
    """Return a learning rate such that YAML takes it for a number, such as ``1.0e-3``."""
    return f"{rate:.1e}".replace("e-0", "e-")


def _one_line(text: str) -> str:
    """Return a text that cannot end a comment, whatever stands in the data."""
    return harmless(text).replace("\n", "\\n")


def _value(value: Any) -> str:
    """Return a value on one line, such that it is read back as the same."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{_value(key)}: {_value(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_value, value)) + "]"
    if not isinstance(value, str) or value.isprintable():
        return value if isinstance(value, str) and PLAIN.fullmatch(value) else json.dumps(value, ensure_ascii=False)
    return yaml.safe_dump(value, default_style='"', width=sys.maxsize).strip()
