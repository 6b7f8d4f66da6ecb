"""ResNet's own: stem and four layers of torchvision's blocks; batch norms learn only where they are trained."""

import pytest
import torch
from torch import nn
from torchvision import models

from tl_vision import DeepResNetOptions, ResNetOptions
from tl_vision.network import PictureNetwork

SIDE = 64


def built(name="resnet18", **options):
    kind = ResNetOptions if name in ("resnet18", "resnet34") else DeepResNetOptions
    return PictureNetwork(name, kind(**{"weights": "random", "size": SIDE} | options), None)


@pytest.mark.parametrize("name", ["resnet18", "resnet50"])
def test_each_stage_gives_what_torchvision_gives(name):
    torch.manual_seed(3)
    backbone = built(name)
    network = models.get_model(name, weights=None).eval()
    tensors = {key: value for stage in backbone.stages.values() for key, value in stage.state_dict().items()}
    assert network.load_state_dict(tensors, strict=False).missing_keys == ["fc.weight", "fc.bias"]
    hidden = torch.randn(2, 3, SIDE, SIDE)
    state = {"hidden": hidden}
    with torch.inference_mode():
        expected = network.maxpool(network.relu(network.bn1(network.conv1(hidden))))
        for stage_name, stage in backbone.stages.items():
            if stage_name != "stem":
                expected = getattr(network, stage_name)(expected)
            state = stage.eval()(state)
            assert float((state["hidden"] - expected).abs().max() / expected.abs().max()) <= 1e-6
    assert list(backbone.stages) == ["stem", "layer1", "layer2", "layer3", "layer4"]


def test_blocks_are_torchvisions_own():
    kinds = {"resnet18": models.resnet.BasicBlock, "resnet50": models.resnet.Bottleneck}
    for name, kind in kinds.items():
        found = [
            module for module in built(name, output="layer1").stages["layer1"].modules() if isinstance(module, kind)
        ]
        assert len(found) == {"resnet18": 2, "resnet50": 3}[name]


def test_a_batch_norm_learns_in_training_and_holds_still_in_evaluation():
    stage = built(output="stem").stages["stem"]
    state = {"hidden": torch.randn(4, 3, SIDE, SIDE) + 3}
    before = {key: value.clone() for key, value in stage.state_dict().items()}
    stage.eval()(state)
    assert all(torch.equal(value, before[key]) for key, value in stage.state_dict().items())
    stage.train()(state)
    assert not torch.equal(stage.state_dict()["bn1.running_mean"], before["bn1.running_mean"])
    assert int(stage.state_dict()["bn1.num_batches_tracked"]) == 1


@pytest.mark.parametrize("side", [32, 33, 100])
@pytest.mark.parametrize("pool", ["mean", "flatten"])
def test_the_width_is_known_for_pictures_of_any_side(side, pool):
    backbone = built(size=side, pool=pool)
    state = {"hidden": torch.randn(2, 3, side, side)}
    with torch.inference_mode():
        for stage in backbone.stages.values():
            state = stage.eval()(state)
        assert backbone.pool(state).shape == (2, backbone.feature_dim)


def test_a_stage_can_be_trained_from_the_state_below_it_without_changing_that():
    backbone = built()
    below = {"hidden": torch.randn(3, 128, 8, 8)}
    kept = below["hidden"].clone()
    loss = backbone.pool(backbone.stages["layer4"].train()(backbone.stages["layer3"].train()(below))).square().sum()
    loss.backward()
    assert torch.equal(below["hidden"], kept)
    convolutions = [
        m for name in ("layer3", "layer4") for m in backbone.stages[name].modules() if isinstance(m, nn.Conv2d)
    ]
    assert all(float(module.weight.grad.abs().max()) > 0 for module in convolutions)
