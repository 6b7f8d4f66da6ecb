"""The end of a run, as the report plugin receives it."""

from pathlib import Path

from tlcore import Mistake, Problem, RunFinished, Table

NOWHERE = Path("no/such/folder")


def finished(folder, word="plain", classes=("car", "bus", "bike"), preview=None, report="html", **changes):
    """Return a run's end in which ``word`` stands wherever data or a plugin can put a word."""
    names = [f"{name} {word}" for name in classes]
    scores = {"n": 30, "loss": 0.5, "accuracy": 0.8, "macro_f1": 0.79, "ece": 0.05, "absent": []}
    scores["per_class"] = {
        name: {"precision": 0.8, "recall": 0.7, "f1": 0.75 - n / 1000, "support": 10} for n, name in enumerate(names)
    }
    scores["majority"] = {"class": names[0], "accuracy": 0.33, "macro_f1": 0.16}
    rows = tuple(
        (name, *[40 + n if m == n else (m + n) % 3 for m in range(len(names))]) for n, name in enumerate(names)
    )
    sides = {"confidence": 0.934, f"probability of {names[0]}": 0.041}
    fields = {
        "folder": folder,
        "recipe": {
            "name": word, "task": {"name": f"x/{word}"},
            "backbone": {"name": f"vision/{word}", "weights": word}, "adapter": {"name": f"a/{word}"},
            "data": {"source": f"data/{word}"}, "train": {"epochs": 2}, "evaluate": {"report": report, "mistakes": 12},
        },
        "metrics": {"test": scores, "validation": scores, "best_epoch": 2,
                    "selection": {"metric": "macro_f1", "higher_is_better": True}},
        "history": [
            {"epoch": n, "train": {"loss": 1 / n}, "validation": {"loss": 1.1 / n, "macro_f1": 0.5 + n / 10}, "lr": 0.1,
             "seconds": 1.0, "best": True}
            for n in (1, 2)
        ],
        "tables": {"confusion": Table((f"truth {word}", *names), rows), "by hour": Table((word, "n"), ((word, 3),))},
        "manifest": {
            "tlcore": "0.1.0", "versions": {"torch": word, word: "1"}, "seed": 7, "device": "cpu", "precision": "fp32",
            "backbone": {"name": word, "stages": [word, "two"], "freeze_line": 1, "first_trained": "two",
                         "digest": "ab", "trained_parameters": 10, "frozen_parameters": 99},
            "data": {"digest": "cd"},
            "counts": {"train": 140, "validation": 30, "test": 30},
            "classes": {name: {"train": 47, "validation": 10, "test": 10} for name in names},
            "features": {"computed": 200, "reused": 0}, "seconds": {"features": 3.0, "training": 1.0},
            "peak_memory_bytes": 10**9, "started": "2026-01-31T12:00:00", "command": f"tl run {word}",
        },
        "problems": (Problem(f"file {word}", f"broken {word}"),),
        "mistakes": (Mistake(f"id {word}", names[0], names[1], sides, preview or f"text {word}"),),
        "notes": (f"note {word}",),
    }  # fmt: skip
    return RunFinished(**{**fields, **changes})
