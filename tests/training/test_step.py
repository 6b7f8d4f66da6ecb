"""A step is the same however it is cut into parts, and nothing non-finite gets past it."""

import dataclasses

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from tlcore import NumericError
from tlcore.distributed.team import Team
from tlcore.notes import noted
from tlcore.recipe import TrainSection
from tlcore.training.data import training_batches
from tlcore.training.device import accelerator_for
from tlcore.training.step import TrainStep

torch.manual_seed(0)
INPUTS = {str(n): torch.randn(3) for n in range(32)}
GOALS = {id_: value.sum().sign() for id_, value in INPUTS.items()}


class Machine:
    """One linear layer that runs out of memory above so many examples at a time."""

    def __init__(self, part, room=1000, fit_memory=False, clip=None, scaler=None):
        torch.manual_seed(1)
        self.layer = nn.Linear(3, 1)
        accelerator = accelerator_for("cpu", "fp32")
        accelerator.scaler = scaler
        optimizer = torch.optim.SGD([{"params": list(self.layer.parameters()), "part": "head"}], lr=0.1)
        self.room = room
        self.parts = []
        section = dataclasses.replace(TrainSection(), batch_size=part, clip=clip, fit_memory=fit_memory)
        self.train_step = TrainStep(accelerator, accelerator.prepare(optimizer), section, {}, Team(accelerator))

    def loss(self, ids):
        if len(ids) > self.room:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB")
        self.parts.append(len(ids))
        out = self.layer(torch.stack([INPUTS[id_] for id_ in ids]))[:, 0]
        return (out - torch.stack([GOALS[id_] for id_ in ids])).square().mean()

    def step(self, ids=tuple(INPUTS)):
        return self.train_step.step(list(ids), self.loss, 0)

    @property
    def weights(self):
        return torch.cat([self.layer.weight.detach().flatten(), self.layer.bias.detach()])


@pytest.mark.parametrize("part", [16, 11, 5, 1])
@pytest.mark.parametrize("clip", [None, 0.01])
def test_a_step_in_parts_is_the_step_in_one(part, clip):
    whole, parts = Machine(32, clip=clip), Machine(part, clip=clip)
    assert parts.step() == pytest.approx(whole.step(), rel=1e-6)
    assert torch.allclose(parts.weights, whole.weights, rtol=1e-5, atol=1e-7)
    assert len(parts.parts) > 1


def test_steps_that_the_scaler_of_fp16_leaves_out_are_counted():
    machine = Machine(32, scaler=torch.amp.GradScaler("cpu", init_scale=2.0**127, backoff_factor=2.0**-100))
    before, seen = machine.weights, []
    for number in range(2):
        machine.train_step.step(list(INPUTS), lambda ids: 1000 * machine.loss(ids), number)
        seen.append((bool(torch.equal(machine.weights, before)), machine.train_step.skipped))
    assert seen == [(True, 1), (False, 1)]


def test_clipping_bounds_how_far_the_weights_move():
    machine = Machine(32, clip=0.01)
    before = machine.weights
    machine.step()
    assert (machine.weights - before).norm() == pytest.approx(0.1 * 0.01, rel=1e-3)


def test_where_memory_ends_the_step_stays_the_same_and_it_is_said():
    whole, small, notes = Machine(32), Machine(32, room=8, fit_memory=True), []
    with noted(notes):
        assert small.step() == pytest.approx(whole.step(), rel=1e-6)
    assert torch.allclose(small.weights, whole.weights, rtol=1e-5, atol=1e-7)
    assert small.parts == [8, 8, 8, 8]
    assert "microbatches of 8" in notes[-1]
    with noted(notes):
        small.step()
    assert len(notes) == 2, "a part that fitted once is not looked for again"


def test_without_leave_a_step_is_never_made_smaller():
    machine = Machine(32, room=8)
    before = machine.weights
    with pytest.raises(torch.OutOfMemoryError):
        machine.step()
    assert torch.equal(machine.weights, before)


def test_one_example_that_does_not_fit_is_an_error():
    with pytest.raises(torch.OutOfMemoryError), noted([]):
        Machine(32, room=0, fit_memory=True).step()


def test_a_loss_that_is_not_finite_in_the_last_part_leaves_the_weights_alone():
    machine = Machine(8)
    before = machine.weights
    bad = dict.fromkeys(INPUTS)
    last = list(bad)[-1]
    kept, INPUTS[last] = INPUTS[last], torch.full((3,), float("nan"))
    try:
        with pytest.raises(NumericError, match="the step was not taken") as caught:
            machine.step()
    finally:
        INPUTS[last] = kept
    assert last in caught.value.where
    assert torch.equal(machine.weights, before)


@given(st.integers(1, 200), st.integers(1, 40))
def test_every_example_is_in_one_batch_and_none_is_alone(count, size):
    ids = [str(n) for n in range(count)]
    batches = training_batches(ids, size)
    assert [id_ for batch in batches for id_ in batch] == ids
    assert all(len(batch) > 1 for batch in batches) or size == 1 or count == 1
    assert all(len(batch) <= size + 1 for batch in batches)
