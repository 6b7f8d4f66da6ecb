"""What processes share is each example once, in its order, with the gradients and the weights of one process."""

import dataclasses
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from torch import nn

from tlcore import NumericError
from tlcore.distributed.team import Team
from tlcore.errors import TLError
from tlcore.recipe import TrainSection
from tlcore.training.data import in_batches
from tlcore.training.device import accelerator_for
from tlcore.training.step import TrainStep


class Table:
    """Where as many threads as there are processes lay down what they give each other."""

    def __init__(self, size):
        self.size = size
        self.barrier = threading.Barrier(size, timeout=600)
        self.given = [None] * size

    def exchanged(self, rank, value):
        self.given[rank] = value
        self.barrier.wait()
        found = list(self.given)
        self.barrier.wait()
        return found


class Member:
    """An Accelerator, as far as a team asks for one."""

    device = torch.device("cpu")

    def __init__(self, table, rank):
        self._table = table
        self.num_processes, self.process_index = table.size, rank

    def gather(self, values):
        return torch.cat(self._table.exchanged(self.process_index, values))

    def reduce(self, values, how):
        assert how == "sum"
        return torch.stack(self._table.exchanged(self.process_index, values)).sum(dim=0)


def together(size, work):
    """Return what ``work(team)`` gives in each of so many processes."""
    table = Table(size)
    with ThreadPoolExecutor(size) as pool:
        return list(pool.map(lambda rank: work(Team(Member(table, rank))), range(size)))


def outputs_of(ids):
    return torch.tensor([[float(id_), float(id_) ** 2] for id_ in ids], dtype=torch.float64)


@pytest.mark.parametrize("world", [1, 2, 3])
def test_each_example_is_computed_once_and_stands_in_its_place(world):
    def work(team):
        wrong, computed = [], {}
        for count in [*range(1, 41), 103]:
            ids = [str(n) for n in range(count)]
            for size in (1, 2, 5, 16):
                seen = computed.setdefault((count, size), [])

                def compute(some, seen=seen):
                    seen.extend(some)
                    return outputs_of(some)

                found = [team.joined(batch, compute) for batch in in_batches(ids, size)]
                if not torch.equal(torch.cat(found), outputs_of(ids)):
                    wrong.append((count, size))
        return wrong, computed

    found = together(world, work)
    assert all(wrong == [] for wrong, _ in found)
    for count, size in found[0][1]:
        batches = in_batches([str(n) for n in range(count)], size)
        shared = [id_ for batch in batches if len(batch) >= world for id_ in batch]  # of fewer, all compute all
        everywhere = [id_ for batch in batches if len(batch) < world for id_ in batch]
        expected = sorted([*shared, *everywhere * world])
        assert sorted(id_ for _, computed in found for id_ in computed[count, size]) == expected


def test_processes_that_do_not_see_the_same_examples_are_found():
    def other_data(team):
        ids = [f"{n} of {team.rank}" if n == 3 else str(n) for n in range(8)]
        with pytest.raises(TLError, match="did not compute each of 8 examples once"):
            team.joined(ids, lambda some: torch.zeros(len(some)))

    def lost_row(team):
        with pytest.raises(TLError, match="once") as caught:
            team.joined(list(range(8)), lambda some: torch.zeros(len(some) - team.rank))
        assert "rows by process: 4, 3" in caught.value.where

    together(2, other_data)
    together(2, lost_row)


class Net:
    """A network of its own for each process, with the same weights."""

    def __init__(self, team, part, clip=None):
        torch_state = torch.Generator().manual_seed(1)
        self.layers = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 1)).double()
        for parameter in self.layers.parameters():
            parameter.data = torch.randn(parameter.shape, generator=torch_state, dtype=torch.float64)
        accelerator = ACCELERATOR
        optimizer = torch.optim.SGD([{"params": list(self.layers.parameters()), "part": "head"}], lr=0.1)
        section = dataclasses.replace(TrainSection(), batch_size=part, clip=clip)
        team = team or Team(accelerator)
        self.train_step = TrainStep(accelerator, accelerator.prepare_optimizer(optimizer), section, {}, team)

    def step(self, count):
        ids = [str(n) for n in range(count)]
        return self.train_step.step(ids, self.loss, 0)

    def loss(self, ids):
        rows = torch.stack([ROWS[int(id_)] for id_ in ids])
        return (self.layers(rows)[:, 0] - rows.sum(dim=1).sign()).square().mean()

    def gradient(self):
        return torch.cat([parameter.grad.flatten() for parameter in self.layers.parameters()])


ROWS = torch.randn(40, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
ACCELERATOR = accelerator_for("cpu", "fp32")


@pytest.mark.parametrize("world", [2, 3])
@pytest.mark.parametrize("count", [2, 5, 31, 32, 33])
@pytest.mark.parametrize("part", [32, 16, 5])
def test_processes_with_unequal_shares_have_the_gradients_of_one(world, count, part):
    whole = Net(None, 64)
    loss = whole.step(count)

    def work(team):
        net = Net(team, part)
        return net.step(count), net.gradient(), torch.cat([one.flatten() for one in net.layers.parameters()])

    found = together(world, work)
    for other, gradient, weights in found:
        assert other == pytest.approx(loss, rel=1e-6)
        assert torch.allclose(gradient, whole.gradient(), rtol=1e-6, atol=1e-7)
        assert torch.equal(weights, found[0][2])


def test_weights_that_differ_in_one_bit_or_steps_that_differ_are_found():
    def agreed(team):
        team.require_agreement(7, [torch.ones(3), torch.ones(2, dtype=torch.bfloat16), torch.ones(())])

    def bit(team):
        weights = torch.ones(3)
        if team.rank == 1:
            weights[2] = torch.nextafter(weights[2], torch.tensor(2.0))
        with pytest.raises(NumericError, match="no longer have the same weights at step 49"):
            team.require_agreement(49, [weights])

    def step(team):
        with pytest.raises(NumericError, match="at steps 48, 49"):
            team.require_agreement(48 + team.rank, [torch.ones(3)])

    for work in (agreed, bit, step):
        together(2, work)
