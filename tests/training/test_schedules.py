"""Learning rates are functions of the step; only the plateau also looks at the scores."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tlcore.recipe import SCHEDULERS, Constant, Cosine, Linear, OneCycle, Plateau, Step
from tlcore.training.schedules import Schedule

NAMES = sorted(SCHEDULERS)


def schedule(name, options, steps=10, epochs=5):
    return Schedule(name, options, steps_per_epoch=steps, epochs=epochs)


def test_a_step_falls_every_few_epochs_after_its_warm_up():
    factor = schedule("step", Step(step_size=2, warmup_steps=4)).factor
    assert [factor(step) for step in (0, 1, 3, 19)] == [0.25, 0.5, 1.0, 1.0]
    assert [round(factor(step), 6) for step in (20, 39, 40)] == [0.1, 0.1, 0.01]


@pytest.mark.parametrize(("name", "options"), [("cosine", Cosine(floor=0.2)), ("linear", Linear(floor=0.2))])
def test_a_fall_to_the_end_begins_at_one_and_ends_at_its_floor(name, options):
    factor = schedule(name, options).factor
    assert factor(0) == 1.0
    assert factor(49) == pytest.approx(0.2)
    assert factor(24) == pytest.approx(0.6, abs=0.03)
    assert all(factor(step) > factor(step + 1) for step in range(49))


@pytest.mark.parametrize("name", ["cosine", "linear"])
def test_a_fall_begins_where_the_warm_up_ends(name):
    options = {"cosine": Cosine, "linear": Linear}[name](warmup_steps=10)
    factor = schedule(name, options).factor
    assert [factor(step) for step in (0, 4)] == [0.1, 0.5]
    assert factor(10) == 1.0
    assert factor(49) == pytest.approx(0.0)


def test_one_cycle_is_torchs():
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
    theirs = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=1.0, total_steps=50, cycle_momentum=False)
    options = OneCycle(start=1 / 25, floor=1 / 25e4)
    factor = Schedule("one-cycle", options, steps_per_epoch=10, epochs=5).factor
    found = []
    for _ in range(50):
        found.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        theirs.step()
    # torch takes its top at step 14 of 50, ours lies at exactly 0.3 of the way
    assert [factor(step) for step in range(50)] == pytest.approx(found, abs=0.06)
    assert factor(49) == pytest.approx(4e-6, abs=1e-9)


def test_a_plateau_falls_after_its_patience_and_not_below_its_floor():
    plateau = schedule("plateau", Plateau(patience=2, gamma=0.1, floor=0.05))
    seen = []
    for improved in (True, False, True, False, False, False, False):
        plateau.on_epoch_end(improved=improved)
        seen.append(plateau.factor(0))
    assert seen == [1.0, 1.0, 1.0, 1.0, 0.1, 0.1, 0.05]


@given(st.sampled_from(NAMES), st.integers(1, 30), st.integers(1, 30), st.integers(0, 50), st.lists(st.booleans()))
def test_every_factor_is_between_zero_and_one(name, steps, epochs, warmup, history):
    options = SCHEDULERS[name]() if name == "one-cycle" else SCHEDULERS[name](warmup_steps=warmup)
    one = schedule(name, options, steps, epochs)
    for improved in history:
        one.on_epoch_end(improved=improved)
    assert all(0 <= one.factor(step) <= 1 for step in range(steps * epochs))


def test_constant_stays():
    assert {schedule("constant", Constant()).factor(step) for step in range(50)} == {1.0}
