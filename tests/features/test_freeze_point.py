"""While a schedule holds stages back, states are read above them: the line moves down once."""

import json

import pytest
from PIL import Image
from torch import nn

import tlcore
from tlcore import Injection, Phase, Plan
from tlcore.features.freeze_point import EarlyLine, early_line

STAGES = ("one", "two", "three", "four")
HEAD_FIRST = (Phase(0, 4), Phase(3, 1))
GRADUAL = tuple(Phase(2 * (4 - first), first) for first in (4, 3, 2, 1))


def plan(schedule=(), line=1, changed=()):
    injections = tuple(Injection(name, lambda stage: stage) for name in changed)
    return Plan(freeze_line=line, head=nn.Linear(1, 1), schedule=schedule, injections=injections)


@pytest.mark.parametrize(
    ("given", "settings", "expected"),
    [
        (plan(), {}, None),
        (plan(HEAD_FIRST), {}, EarlyLine(4, until=3)),
        (plan(HEAD_FIRST), {"epochs": 2}, EarlyLine(4, until=2)),
        (plan(GRADUAL), {}, EarlyLine(4, until=2)),
        (plan((Phase(0, 3), Phase(5, 2))), {}, EarlyLine(3, until=5)),
        (plan((Phase(4, 3),)), {}, None),  # nothing is held back at first
        (plan((Phase(0, 1),)), {}, None),
        (
            plan(HEAD_FIRST, changed=["three"]),
            {},
            EarlyLine(2, until=3),
        ),  # what the adapter changed is no frozen network
        (plan(HEAD_FIRST, changed=["two"]), {}, None),
        (plan(HEAD_FIRST), {"versions": 3}, EarlyLine(4, until=3)),
        (plan(HEAD_FIRST), {"versions": 4}, None),  # four versions of each would be computed for three epochs
    ],
)
def test_where_the_first_epochs_read(given, settings, expected):
    assert early_line(given, STAGES, **{"epochs": 10, **settings}) == expected


@pytest.fixture
def recipe(tmp_path, monkeypatch):
    """Return the path of a recipe that trains the top of a small network, the head before the rest."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TL_CACHE", str(tmp_path / "cache"))
    for n in range(40):
        path = tmp_path / "photos" / "ab"[n % 2] / f"{n}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.effect_noise((36, 36), 20 + n).convert("RGB").point(lambda v, n=n: v // (1 + n % 2)).save(path)
    path = tmp_path / "recipe.yaml"
    path.write_text(
        json.dumps(
            {
                "task": "image-classification",
                "data": {"source": "folder", "path": "photos"},
                "backbone": {"name": "resnet18", "weights": "random", "size": 32},
                "adapter": {"name": "fine-tuning", "layers": 2, "unfreeze": "head-first", "unfreeze_every": 3},
                "train": {"epochs": 4, "precision": "fp32"},
                "evaluate": {"resamples": 0, "probe": False, "report": "none"},
                "seed": 3,
            }
        )
    )
    return path


def run(recipe, out, *overrides, said=None):
    tell = (lambda text: None) if said is None else said.append
    return tlcore.run(recipe, out=out, overrides=overrides, warn=tell)


def history(result):
    records = [json.loads(line) for line in (result.folder / "history.jsonl").read_text("utf-8").splitlines()]
    return [(record["train"]["loss"], record["validation"]["loss"]) for record in records]


@pytest.mark.slow
def test_the_line_moves_once_and_the_run_learns_what_it_would_have_learnt(recipe):
    said = []
    moved = run(recipe, "moved", said=said)
    assert "the line moves once: the first 3 epochs read states below the head, those after them below layer3" in said
    assert moved.features["computed"] == 2 * 40
    again = run(recipe, "again")
    assert (again.features["computed"], again.features["reused"]) == (0, 2 * 40)
    assert history(again) == history(moved)
    whole = run(recipe, "whole", "features.store=never")
    for ours, theirs in zip(history(moved), history(whole), strict=True):
        assert ours == pytest.approx(theirs, rel=1e-3)


def test_held_stages_are_run_once_not_in_each_epoch(recipe, monkeypatch):
    from tl_vision.stages import Stage

    rows = []
    forward = Stage.forward

    def counted(self, state):
        rows.append(len(state["hidden"]))
        return forward(self, state)

    monkeypatch.setattr(Stage, "forward", counted)
    run(recipe, "first", "train.epochs=3")
    once = sum(rows)
    rows.clear()
    run(recipe, "second", "train.epochs=3", "train.lr=0.01")
    assert sum(rows) < once / 10  # shapes are asked for with a row of no values; all else is read


def test_what_a_run_would_compute_names_both_lines(recipe):
    from typer.testing import CliRunner

    from tlcore.cli import app

    found = json.loads(CliRunner().invoke(app, ["cache", "why", str(recipe), "--json"]).stdout)
    assert [(one["line"], one["compute"]) for one in found] == [("layer2", 40), ("pooled features", 40)]
    run(recipe, "first")
    found = json.loads(CliRunner().invoke(app, ["cache", "why", str(recipe), "--json"]).stdout)
    assert [(one["line"], one["compute"]) for one in found] == [("layer2", 0), ("pooled features", 0)]
