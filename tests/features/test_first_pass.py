"""Each example passes the frozen stages once; a row does not depend on its companions; bad ones are listed."""

from collections import Counter

import pytest
import torch
from torch import nn

from tlcore import Example, NumericError, UnreadableError
from tlcore.features.first_pass import first_pass
from tlcore.training.device import accelerator_for


class Counting(nn.Module):
    """A stage that remembers which rows it saw."""

    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(4, 4)
        self.seen = Counter()

    def forward(self, state):
        self.seen.update(int(row[0]) for row in state["hidden"])
        return {"hidden": torch.relu(self.linear(state["hidden"]))}


class Numbers:
    """A backbone over single numbers from 1 on; a negative one cannot be read, a huge one overflows."""

    feature_dim = 4

    def __init__(self):
        self.stages = {"one": Counting(), "two": Counting()}

    def prepare(self, examples, view=None):
        if any(example.input < 0 for example in examples):
            raise UnreadableError("it is negative")
        return {"hidden": torch.tensor([[float(example.input), 0, 0, 1] for example in examples])}

    def pool(self, state):
        return state["hidden"]


def numbers(count, first=1):
    return [Example(id=str(n), input=n) for n in range(first, first + count)]


def test_every_example_is_computed_once(tmp_path):
    backbone = Numbers()
    reader, problems = first_pass(backbone, 1, numbers(50), accelerator_for("cpu", "fp32"), tmp_path)
    seen = backbone.stages["one"].seen
    del seen[0]  # rows that fill up a batch
    assert seen == Counter(range(1, 51))
    assert not backbone.stages["two"].seen
    assert not problems
    expected = backbone.stages["one"]({"hidden": torch.tensor([[7.0, 0, 0, 1]])})["hidden"]
    assert torch.allclose(reader.batch(["7"])["hidden"], expected)


def test_above_the_last_stage_the_pooled_features_are_kept(tmp_path):
    reader, _ = first_pass(Numbers(), 2, numbers(5), accelerator_for("cpu", "fp32"), tmp_path)
    assert reader.batch(["1", "5"])["features"].shape == (2, 4)


def test_a_value_does_not_depend_on_its_companions(tmp_path):
    torch.manual_seed(0)
    backbone = Numbers()
    accelerator = accelerator_for("cpu", "fp32")
    many, _ = first_pass(backbone, 2, numbers(37), accelerator, tmp_path / "many")
    few, _ = first_pass(backbone, 2, numbers(3, first=20), accelerator, tmp_path / "few")
    assert torch.equal(many.batch(["20", "22"])["features"], few.batch(["20", "22"])["features"])


def test_unreadable_examples_are_listed_and_the_rest_is_kept(tmp_path):
    examples = [*numbers(40), Example(id="bad", input=-1), *numbers(9, first=100)]
    reader, problems = first_pass(Numbers(), 1, examples, accelerator_for("cpu", "fp32"), tmp_path)
    assert [(problem.id, problem.reason) for problem in problems] == [("bad", "it is negative")]
    assert reader.batch(["104"])["hidden"].shape == (1, 4)


def test_with_the_line_at_the_bottom_everything_is_still_read_beforehand(tmp_path):
    backbone = Numbers()
    reader, problems = first_pass(
        backbone, 0, [*numbers(3), Example(id="bad", input=-1)], accelerator_for("cpu", "fp32"), tmp_path
    )
    assert [problem.id for problem in problems] == ["bad"]
    assert not backbone.stages["one"].seen
    assert reader.batch(["2"])["hidden"][0, 0] == 2


def test_a_value_that_is_not_finite_stops_with_the_example(tmp_path):
    backbone = Numbers()
    nn.init.constant_(backbone.stages["one"].linear.weight, 1e30)
    with pytest.raises(NumericError) as caught:
        first_pass(backbone, 1, [Example(id="huge", input=10**30)], accelerator_for("cpu", "fp32"), tmp_path)
    assert caught.value.where == "example huge"
