"""LoRA through peft: only the matrices learn, and the saved model is a plain network that says the same."""

import pytest
import torch
from torch import nn

from tl_adapters import LoRAOptions
from tl_adapters.lora import LoRA
from tlcore import UsageError
from tlcore.training.model import TrainableModel

pytest.importorskip("peft")


class Stage(nn.Module):
    def __init__(self, kind):
        super().__init__()
        self.layer = nn.Conv2d(3, 3, 3, padding=1) if kind == "conv" else nn.Linear(4, 4)
        self.norm = nn.BatchNorm2d(3)
        self.kept = nn.Linear(4, 4)

    def forward(self, state):
        return {"hidden": self.kept(self.norm(self.layer(state["hidden"])))}


class Small:
    feature_dim = 3

    def __init__(self, targets=("layer",)):
        torch.manual_seed(0)
        self.stages = {"one": Stage("conv"), "two": Stage("linear"), "three": Stage("conv")}
        self.lora_targets = dict.fromkeys(("two", "three"), targets)

    def pool(self, state):
        return state["hidden"].mean(dim=(2, 3))


def moved(model):
    """Train a few steps on noise, so that the matrices are no longer zero."""
    optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=0.1)
    nn.init.normal_(model.head.weight)
    for epoch in range(3):
        model.begin_epoch(epoch)
        optimizer.zero_grad()
        model(INPUT).square().sum().backward()
        optimizer.step()
    return model.eval()


INPUT = {"hidden": torch.randn(5, 3, 4, 4, generator=torch.Generator().manual_seed(1))}


def adapted(**options):
    backbone = Small()
    plan = LoRA(LoRAOptions(rank=2, **options)).plan(backbone, 2)
    return backbone, plan, TrainableModel(backbone, plan)


def test_the_line_is_below_the_lowest_stage_with_matrices():
    _, plan, _ = adapted()
    assert plan.freeze_line == 1
    assert adapted(layers=1)[1].freeze_line == 2


def test_only_matrices_and_head_are_trained_and_statistics_stay():
    _backbone, _, model = adapted()
    trained = {name for name, parameter in model.named_parameters() if parameter.requires_grad}
    assert all("lora_" in name or name.startswith("head") for name in trained)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    moved(model)
    changed = {name for name, value in model.state_dict().items() if not torch.equal(value, before[name])}
    assert changed
    assert all("lora_" in name or name.startswith("head") for name in changed)


def test_before_training_the_network_says_what_it_said():
    _backbone, _, model = adapted()
    expected = Small()
    state = INPUT
    for stage in list(expected.stages.values())[1:]:
        state = stage.eval()(state)
    assert torch.allclose(model.eval().features(INPUT), expected.pool(state), atol=1e-6)


def test_folded_in_the_model_says_the_same_and_has_its_plain_names():
    _backbone, _plan, model = adapted()
    moved(model)
    with torch.no_grad():
        expected = model(INPUT)
        assert model.merge() == ["two", "three"]
        assert torch.allclose(model.eval()(INPUT), expected, atol=1e-5, rtol=1e-5)
    plain = {name for name, _ in Stage("conv").named_parameters()}
    assert {name for name, _ in model.parts()["three"].named_parameters()} == plain
    again = TrainableModel(Small(), LoRA(LoRAOptions(rank=2)).plan(Small(), 2), merged=["two", "three"])
    again.load_state_dict(model.state_dict())
    with torch.no_grad():
        assert torch.allclose(again.eval()(INPUT), expected, atol=1e-5, rtol=1e-5)


def test_a_backbone_without_targets_is_refused_with_the_reason():
    with pytest.raises(UsageError, match="no modules that take low-rank matrices") as caught:
        LoRA(LoRAOptions()).plan(Small(targets=()), 2)
    assert "fine-tuning" in caught.value.hint
