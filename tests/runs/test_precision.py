"""`precision: auto` takes half precision only where a sample says that the features survive it."""

import dataclasses

import pytest
import torch
from torch import nn

import tlcore.runs.feature_planner
from tlcore import Example
from tlcore.contracts import SPLITS
from tlcore.data.dataset import Dataset
from tlcore.data.digests import content_digest
from tlcore.features.half_precision import centered_cosine
from tlcore.recipe import Choice, DataSection, Recipe
from tlcore.runs.feature_planner import FeaturePlanner
from tlcore.training.device import accelerator_for, precision_of


class Shifted(nn.Module):
    """Adds an offset: with a large one, half precision has no digits left for what differs."""

    def __init__(self, offset):
        super().__init__()
        self.linear = nn.Linear(8, 8)
        nn.init.eye_(self.linear.weight)
        nn.init.constant_(self.linear.bias, offset)
        self.calls = 0

    def forward(self, state):
        self.calls += 1
        return {"hidden": self.linear(state["hidden"])}


class Offset:
    feature_dim = 8
    preparation = {}  # noqa: RUF012
    libraries = ()

    def __init__(self, offset):
        self.stages = {"one": Shifted(offset)}

    def prepare(self, examples, view=None):
        return {"hidden": torch.tensor([example.input for example in examples])}

    def pool(self, state):
        return state["hidden"]


@dataclasses.dataclass(frozen=True)
class Nothing:
    augment: None = None


def planner(backbone, count=30):
    rows = torch.randn(count, 8, generator=torch.Generator().manual_seed(1))
    examples = {str(n): Example(str(n), row.tolist(), "a", SPLITS[0] if n else SPLITS[1]) for n, row in enumerate(rows)}
    dataset = Dataset(examples, {id_: content_digest(example.input) for id_, example in examples.items()})
    choice = Choice("p/offset", Nothing())
    recipe = Recipe(name="it", task=choice, data=DataSection(source=choice), backbone=choice, adapter=choice)
    return FeaturePlanner(recipe, dataset, backbone)


@pytest.fixture(autouse=True)
def _a_device_with_bf16(monkeypatch):
    monkeypatch.setattr(tlcore.runs.feature_planner, "half_format", lambda device: "bf16")


@pytest.mark.parametrize(("offset", "precision"), [(0.0, "bf16"), (3000.0, "fp32")])
def test_features_decide(offset, precision, recwarn):
    one = planner(Offset(offset))
    assert precision_of(one.choose_precision(accelerator_for("cpu", "fp32"))) == precision
    assert "centred cosine" in one.precision_reason
    assert any("precision fp32" in str(warning.message) for warning in recwarn) == (precision == "fp32")


def test_the_answer_is_remembered():
    planner(Offset(0.0)).choose_precision(accelerator_for("cpu", "fp32"))
    backbone = Offset(0.0)
    assert precision_of(planner(backbone).choose_precision(accelerator_for("cpu", "fp32"))) == "bf16"
    assert backbone.stages["one"].calls == 0


def test_a_few_examples_tell_nothing():
    one = planner(Offset(0.0), count=5)
    assert precision_of(one.choose_precision(accelerator_for("cpu", "fp32"))) == "fp32"


def test_a_cosine_is_taken_after_the_mean_is_gone():
    features = torch.randn(20, 4, generator=torch.Generator().manual_seed(1))
    assert centered_cosine(features, features * 3 + 100) == pytest.approx(1, abs=1e-4)
    assert centered_cosine(features + 1000, features.flip(0) + 1000) < 0.6
    assert centered_cosine(torch.ones(5, 3), torch.ones(5, 3)) == 1
    assert centered_cosine(features, torch.full_like(features, float("inf"))) == 0
