"""Runs of a tiny network on a small table, and the command ``tl`` in this process."""

import csv
import json
import random
import sys

import pytest

import tlcore
from tl_text.checkpoint import write_tiny
from tlcore.cli import main

WORDS = ["a", "the", "good", "not", "film", "is", "one", "at", "all"]


def rows(count, seed):
    drawn = random.Random(seed)
    for n in range(count):
        words = [drawn.choice(WORDS) for _ in range(6)]
        yield [f"{' '.join(words)} {n}", "praise" if "good" in words else "blame"]


def write(path, found):
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([["review", "kind"], *found])


def tl(monkeypatch, capsys, *words):
    """Run `tl` and return its exit code, standard output and standard error."""
    monkeypatch.setattr(sys, "argv", ["tl", *map(str, words)])
    with pytest.raises(SystemExit) as ended:
        main()
    told = capsys.readouterr()
    return ended.value.code or 0, told.out, told.err


def finish(folder, **runs):
    """Leave finished runs on one table in ``runs/reviews``, each with the overrides that are given for its name."""
    write_tiny(folder / "bert")
    write(folder / "reviews.csv", rows(120, 1))
    recipe = {
        "task": "text-classification",
        "data": {"source": "table", "path": str(folder / "reviews.csv"), "input": "review", "label": "kind"},
        "backbone": {"name": "bert", "weights": str(folder / "bert")},
        "adapter": "feature-extraction",
        "train": {"epochs": 2, "lr": 0.05},
        "evaluate": {"resamples": 20, "probe": False},
    }
    (folder / "reviews.yaml").write_text(json.dumps(recipe))
    for name, overrides in runs.items():
        out = folder / "runs" / "reviews" / name
        tlcore.run(folder / "reviews.yaml", overrides=overrides, out=out, warn=lambda text: None)
