"""Stopped anywhere and gone on with by another trainer: the losses of all steps and the weights are the same bits."""

import dataclasses
import itertools
import math
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from tlcore import Classification, Example, Phase, Plan, UsageError
from tlcore.errors import Interrupted
from tlcore.features.readers import InputReader
from tlcore.recipe import SGD, Adam, AdamW, Choice, Constant, OneCycle, Plateau, RMSprop, TrainSection
from tlcore.training import progress
from tlcore.training.checkpoints import Checkpoints
from tlcore.training.device import accelerator_for
from tlcore.training.evaluator import Evaluator
from tlcore.training.model import TrainableModel
from tlcore.training.schedules import Schedule
from tlcore.training.state import ResumePoint, TrainerState
from tlcore.training.trainer import Trainer, TrainerConfig


class Dense(nn.Module):
    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(3, 3)
        self.norm = nn.BatchNorm1d(3)
        self.dropout = nn.Dropout(0.3)

    def forward(self, state):
        return {"hidden": self.dropout(torch.tanh(self.norm(self.linear(state["hidden"]))))}


class Small:
    feature_dim = 3

    def __init__(self):
        torch.manual_seed(3)
        self.stages = {"bottom": Dense(), "top": Dense()}

    def prepare(self, examples, view=None):
        return {"hidden": torch.tensor([example.input for example in examples])}

    def pool(self, state):
        return state["hidden"]


def examples(count, split):
    rows = torch.randn(count, 3, generator=torch.Generator().manual_seed(len(split)))
    return [Example(f"{split}{n}", tuple(r.tolist()), "up" if r[0] > 0 else "down", split) for n, r in enumerate(rows)]


TRAIN, VALIDATION = examples(21, "train"), examples(10, "validation")
STEPS = 3 * 3  # 3 epochs of 3 batches: 8, 8 and 5


def trainer(losses, schedule=(), **changes):
    """Return a trainer that writes down the loss of each step."""
    backbone, task = Small(), Classification()
    task.fit([example.label for example in TRAIN])
    plan = Plan(freeze_line=0, head=nn.Linear(3, 2), schedule=schedule)
    nn.init.zeros_(plan.head.weight)
    nn.init.zeros_(plan.head.bias)
    section = dataclasses.replace(TrainSection(), **{"epochs": 3, "batch_size": 8, **changes})
    reader = InputReader(backbone, {example.id: example for example in [*TRAIN, *VALIDATION]})
    config = TrainerConfig(section, seed=5)
    one = Trainer(TrainableModel(backbone, plan), reader, task, accelerator_for("cpu", "fp32"), config)
    step = one.step

    def recorded(ids, epoch, number):
        loss = step(ids, epoch, number)
        losses.append((number, tuple(ids), loss))
        return loss

    one.step = recorded
    return one


def go(folder, losses, history, *, stop_after=math.inf, **settings):
    """Train from where the folder stands until so many more steps are taken; return the result, None if stopped."""
    one = trainer(losses, **settings)
    checkpoints = Checkpoints(folder)
    newest = checkpoints.find_newest()
    begun = None
    if newest is None:
        one.features.fit_scaler(TRAIN)
    else:
        del history[newest.position["epoch"] :]
        begun = ResumePoint(newest, history)
    already = len(losses)
    try:
        result = one.train(
            TRAIN,
            VALIDATION,
            checkpoints,
            lambda epoch, record: history.append(record),
            resume_from=begun,
            stop_requested=lambda: len(losses) - already >= stop_after,
        )
    except Interrupted:
        return None
    return result, {name: value.clone() for name, value in one.unwrapped.state_dict().items()}


SETTINGS = [
    {},
    {"optimizer": Choice("sgd", SGD(lr=0.1, momentum=0.9))},
    {"optimizer": Choice("adamw", AdamW(lr=0.01)), "ema": 0.9},
    {"optimizer": Choice("rmsprop", RMSprop(lr=0.01)), "clip": 0.5},
    {"optimizer": Choice("adam", Adam(lr=0.05)), "accumulate": 2, "batch_size": 4},
    {"scheduler": Choice("plateau", Plateau(patience=1, gamma=0.1))},
    {"scheduler": Choice("one-cycle", OneCycle())},
    {"schedule": (Phase(0, 2), Phase(1, 0))},
]


def told(history):
    return [{key: value for key, value in record.items() if key != "seconds"} for record in history]


@pytest.mark.slow
@pytest.mark.parametrize("settings", SETTINGS, ids=[str(n) for n in range(len(SETTINGS))])
def test_stopped_after_any_step_it_goes_on_to_the_same_bits(tmp_path, settings):
    whole, whole_history = [], []
    expected, weights = go(tmp_path / "whole", whole, whole_history, **settings)
    for stop_after in range(1, STEPS):
        losses, history, folder = [], [], tmp_path / str(stop_after)
        assert go(folder, losses, history, stop_after=stop_after, **settings) is None
        found, others = go(folder, losses, history, **settings)
        assert losses == whole
        assert told(history) == told(whole_history)
        assert (found.best_epoch, found.best_score) == (expected.best_epoch, expected.best_score)
        assert all(torch.equal(value, weights[name]) for name, value in others.items())


def test_a_chain_of_restarts_after_each_step(tmp_path):
    whole, losses, history = [], [], []
    _, weights = go(tmp_path / "whole", whole, [])
    found = None
    for _ in range(STEPS + 1):
        found = found or go(tmp_path / "chain", losses, history, stop_after=1)
    assert losses == whole
    assert all(torch.equal(value, weights[name]) for name, value in found[1].items())


def test_within_an_epoch_of_other_data_nothing_can_go_on(tmp_path):
    assert go(tmp_path, [], [], stop_after=1) is None
    with pytest.raises(UsageError, match="is in an epoch of 3 steps, which now has 5"):
        go(tmp_path, [], [], batch_size=4)


def test_checkpoints_come_by_step_and_by_minute(tmp_path, monkeypatch):
    saved = []
    save = Checkpoints.save
    monkeypatch.setattr(
        Checkpoints, "save", lambda self, *given: (saved.append(given[0]["step"]), save(self, *given))[1]
    )
    go(tmp_path / "steps", [], [], checkpoint_steps=2)
    assert {2, 5, 8} <= set(saved)
    saved.clear()
    go(tmp_path / "minutes", [], [], checkpoint_minutes=1e-9)
    assert {1, 2, 4, 5, 7, 8} <= set(saved)


@pytest.mark.parametrize("settings", [{}, {"ema": 0.9}])
def test_where_writing_takes_long_the_best_weights_wait_in_memory(tmp_path, monkeypatch, settings):
    best = itertools.cycle([True, False])  # of three epochs the second is the best
    monkeypatch.setattr(Evaluator, "is_better", lambda *scores: next(best))
    expected, weights = go(tmp_path / "whole", [], [], **settings)
    saved, save = [], Checkpoints.save
    monkeypatch.setattr(progress, "PAUSE", 1e9)
    monkeypatch.setattr(
        Checkpoints, "save", lambda self, *given: (saved.append(given[0]["epoch"]), save(self, *given))[1]
    )
    found, others = go(tmp_path / "rested", [], [], **settings)
    assert saved == [1, 3]
    assert found.best_epoch == expected.best_epoch == 2
    assert all(torch.equal(value, weights[name]) for name, value in others.items())


def test_in_other_batches_each_epoch_still_leaves_a_checkpoint(tmp_path):
    history = []
    assert go(tmp_path, [], history, stop_after=6) is None  # at the end of the second epoch
    go(tmp_path, [], history, batch_size=16)  # an epoch now has 2 steps, so that 3 of them have 6 too
    newest = Checkpoints(tmp_path).find_newest()
    assert (newest.position["epoch"], newest.step) == (3, 8)


def test_more_processes_go_on_with_the_statistics_of_the_model(tmp_path):
    assert go(tmp_path, [], [], stop_after=4) is None
    checkpoint, one = Checkpoints(tmp_path).find_newest(), trainer([])
    schedule = Schedule("constant", Constant(), steps_per_epoch=3, epochs=3)
    team = SimpleNamespace(size=2, rank=1)
    TrainerState(one.unwrapped, one.optimizer.optimizer, schedule, None, None, team).load(checkpoint)
    weights = checkpoint.tensors("model")
    assert all(torch.equal(value, weights[name]) for name, value in one.unwrapped.state_dict().items())
