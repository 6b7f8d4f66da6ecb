"""The first value that is not finite is named by its module, forwards and backwards."""

import torch
from torch import nn

from tlcore.training.nonfinite import nonfinite_weight, trace


class Residual(nn.Module):
    """Layers with what networks have: work in place, a skip, a mask of infinities, a function between modules."""

    def __init__(self, between=lambda values: values):
        super().__init__()
        self.first = nn.Linear(4, 4)
        self.act = nn.ReLU(inplace=True)
        self.second = nn.Linear(4, 4)
        self.norm = nn.BatchNorm1d(4)
        self.between = between
        self.register_buffer("mask", torch.tensor([0.0, float("-inf")]))

    def forward(self, state):
        hidden = self.act(self.first(state["hidden"]))
        return {"hidden": self.norm(self.between(self.second(hidden)) + state["hidden"])}


class Overflows(nn.Module):
    def forward(self, values):
        return values * 1e30 * 1e30


def looked(stage, rows):
    with trace({"stage": stage}) as tracer:
        loss = stage({"hidden": rows})["hidden"].sum()
        loss.backward()
    return tracer


def test_a_mask_of_infinities_is_no_fault_and_what_is_finite_is_not_named():
    torch.manual_seed(0)
    stage = Residual()
    assert nonfinite_weight({"stage": stage}) is None
    tracer = looked(stage, torch.randn(6, 4))
    assert tracer.forward is tracer.backward is None
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in stage.modules())


def test_the_innermost_module_whose_output_overflows_is_named_with_its_rows():
    torch.manual_seed(0)
    stage = Residual()
    stage.act = Overflows()
    rows = torch.zeros(6, 4)
    stage.first.bias.data.zero_()
    rows[4] = 1.0
    found = looked(stage, rows).forward
    assert (found.what, found.rows, found.count) == ("the output of stage.act", (4,), 6)


def test_an_input_that_is_not_finite_is_named_by_who_takes_it():
    rows = torch.zeros(6, 4)
    rows[2, 1] = float("nan")
    found = looked(Residual(), rows).forward
    assert (found.what, found.rows) == ("the input of stage.first", (2,))


def test_a_gradient_that_a_function_between_modules_spoils_is_named_by_its_neighbour():
    torch.manual_seed(0)
    stage = Residual(between=lambda values: (values - values.detach().amin(dim=0)).sqrt())
    found = looked(stage, torch.randn(6, 4)).backward
    assert found.what == "the gradient that comes back to the output of stage.second"
    assert 1 <= len(found.rows) <= 4


def test_a_weight_and_a_statistic_that_are_not_finite_are_named():
    stage = Residual()
    stage.norm.running_var[0] = float("inf")
    assert nonfinite_weight({"stage": stage}) == "stage.norm.running_var"
    stage.second.weight.data[0, 0] = float("-inf")
    assert nonfinite_weight({"stage": stage}) == "stage.second.weight"
