"""Every network of the table is torchvision's own, cut into stages, and keeps what it was built with."""

import json

import pytest
import torch
from torch import nn
from torchvision import models

import tl_vision
from tl_vision import network as network_module
from tl_vision import pretrained
from tl_vision.architectures import ARCHITECTURES, weight_files
from tl_vision.network import PictureNetwork
from tl_vision.stages import expected_tensors
from tlcore import UsageError, WeightsError
from tlcore.files.digests import digest_of_tensors

SIDE = 64
SPECS = {spec.name: spec for spec in tl_vision.tl_backbones()}


def built(name, saved=None, **options):
    return PictureNetwork(name, SPECS[name].options(**{"weights": "random", "size": SIDE} | options), saved)


def through(backbone, hidden):
    state = {"hidden": hidden}
    with torch.inference_mode():
        for stage in backbone.stages.values():
            state = stage.eval()(state)
        return backbone.pool(state)


def tensors_of(backbone):
    return {key: value for stage in backbone.stages.values() for key, value in stage.state_dict().items()}


def lively(backbone):
    """Give batch norms statistics and factors as training leaves them: fresh ones hardly do anything."""
    for stage in backbone.stages.values():
        for module in stage.modules():
            if isinstance(module, nn.BatchNorm2d):
                nn.init.uniform_(module.running_mean, -0.2, 0.2)
                nn.init.uniform_(module.running_var, 0.5, 1.5)
                nn.init.uniform_(module.weight.data, 0.5, 1.0)
                nn.init.uniform_(module.bias.data, -0.2, 0.2)
    return backbone


def torchvisions(name, tensors):
    """Return torchvision's network with these very tensors; only its last layer is left out."""
    with torch.device("meta"):
        network = models.get_model(name, weights=None)
    if ARCHITECTURES[name].family == "vgg":
        network.classifier = network.classifier[:5]
    else:
        network.fc = nn.Identity()
    network.load_state_dict(tensors, assign=True)
    return network.eval()


def same(one, other):
    return one.shape == other.shape and float((one - other).abs().max() / other.abs().max()) <= 1e-6


@pytest.mark.slow
@pytest.mark.parametrize("name", ARCHITECTURES)
def test_stages_and_pool_are_torchvisions_network_before_its_classifier(name):
    torch.manual_seed(5)
    top = "fc7" if ARCHITECTURES[name].family == "vgg" else "layer4"
    backbone = lively(built(name, output=top))
    hidden = torch.randn(2, 3, SIDE, SIDE)
    found = through(backbone, hidden)
    with torch.inference_mode():
        expected = torchvisions(name, tensors_of(backbone))(hidden)
    assert found.shape == (2, backbone.feature_dim)
    assert float(expected.std()) > 0
    assert same(found, expected)


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_the_table_tells_the_truth(name):
    row = ARCHITECTURES[name]
    stages = network_module.stages_of(name)
    used = list(stages)[: list(stages).index(row.output) + 1]
    counted = sum(parameter.numel() for stage in used for parameter in stages[stage].parameters())
    assert f"{counted / 1e6:.1f}" == str(row.parameters)
    state = {"hidden": torch.empty(1, 3, 224, 224, device="meta")}
    for stage in used:
        state = stages[stage].eval()(state)
    assert state["hidden"].shape[1] == row.width
    assert str(row.parameters) in SPECS[name].summary
    assert str(row.width) in SPECS[name].summary


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_the_files_are_those_that_torchvision_publishes_and_expect_its_pictures(name):
    published = models.get_model_weights(name)
    known = {"imagenet": "IMAGENET1K_V1", "imagenet-v2": "IMAGENET1K_V2"}
    others = {member.name for member in published} - {known[own] for own in weight_files(name)}
    assert others == ({"IMAGENET1K_FEATURES"} if name == "vgg16" else set())
    for own, file in weight_files(name).items():
        enum = published[known[own]]
        assert file.url == enum.url
        assert f"-{file.digest_prefix[:8]}.pth" in file.url
        transforms = enum.transforms()
        margin = pretrained.MARGINS.get(own, pretrained.USUAL_MARGIN)
        assert (transforms.resize_size, transforms.crop_size) == ([round(224 * margin)], [224])
        assert tuple(transforms.mean) == (0.485, 0.456, 0.406)
        assert tuple(transforms.std) == (0.229, 0.224, 0.225)


@pytest.mark.parametrize("name", ["vgg11_bn", "resnet18"])
def test_what_lies_above_the_output_is_neither_built_nor_counted(name):
    names = list(network_module.stages_of(name))
    backbone = built(name, output=names[1])
    assert list(backbone.stages) == names[:2]
    assert set(tensors_of(backbone)) == {
        key for key, (stage, _) in expected_tensors(name).items() if stage in names[:2]
    }


@pytest.mark.parametrize(("name", "width"), [("vgg13", 512), ("vgg19_bn", 512), ("resnet34", 512), ("resnet50", 2048)])
def test_pools(name, width):
    hidden = torch.rand(2, width, 2, 2)
    pooled = {}
    for pool in ("mean", "max", "flatten"):
        backbone = built(name, pool=pool)
        pooled[pool] = backbone.pool({"hidden": hidden})
        assert pooled[pool].shape == (2, backbone.feature_dim)
    assert torch.allclose(pooled["mean"], hidden.flatten(2).mean(2))
    assert torch.equal(pooled["max"], hidden.flatten(2).amax(2))
    assert torch.equal(pooled["flatten"], hidden.flatten(1))


@pytest.mark.parametrize("name", ["vgg11_bn", "resnet18"])
def test_low_rank_matrices_fit_every_convolution_and_dense_layer_and_nothing_else(name):
    backbone = built(name, output="fc7" if name == "vgg11_bn" else "layer4")
    for stage, targets in backbone.lora_targets.items():
        modules = dict(backbone.stages[stage].named_modules())
        assert targets
        weights = {key for key, value in backbone.stages[stage].named_parameters() if value.dim() > 1}
        assert {f"{target}.weight" for target in targets} == weights
        assert all(isinstance(modules[target], (nn.Conv2d, nn.Linear)) for target in targets)


@pytest.mark.parametrize("name", ["vgg11_bn", "resnet18"])
def test_random_weights_follow_the_global_generator_and_are_drawn_as_torchvision_draws_them(name):
    low = list(network_module.stages_of(name))[:2]
    digests = []
    for seed in (4, 4, 5):
        torch.manual_seed(seed)
        backbone = built(name, output=low[-1])
        digests.append(digest_of_tensors(tensors_of(backbone)))
    assert digests[0] == digests[1] != digests[2]
    reference = models.get_model(name, weights=None).state_dict()
    for key, value in tensors_of(backbone).items():
        if value.dim() > 1:
            assert float(value.std()) == pytest.approx(float(reference[key].std()), rel=0.1)
        else:
            assert torch.equal(value, reference[key])


@pytest.mark.parametrize("name", ["vgg11_bn", "resnet18"])
def test_what_was_saved_is_built_without_looking_for_weights(name, tmp_path, monkeypatch):
    low = list(network_module.stages_of(name))[1]
    backbone = lively(built(name, output=low))
    backbone.save(tmp_path)
    monkeypatch.setattr(network_module, "found", lambda *given: pytest.fail("weights were looked for"))
    again = built(name, saved=tmp_path, output=low, weights="imagenet")
    for stage_name, stage in again.stages.items():
        stage.load_state_dict(backbone.stages[stage_name].state_dict())
    assert again.preparation == backbone.preparation
    hidden = torch.randn(2, 3, SIDE, SIDE)
    assert torch.equal(through(again, hidden), through(backbone, hidden))


@pytest.mark.parametrize(
    "change",
    [
        {"network": "resnet34"},
        {"network": 3},
        {"output": "layer9"},
        {"output": ["layer1"]},
        {"preparation": []},
        {"preparation": {}},
    ],
)
def test_what_was_saved_and_tampered_with_is_refused(tmp_path, change):
    built("resnet18", output="stem").save(tmp_path)
    file = tmp_path / "network.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | change))
    with pytest.raises(WeightsError):
        built("resnet18", saved=tmp_path)


@pytest.mark.parametrize(
    "change",
    [{"margin": 1e9}, {"margin": None}, {"std": [0, 1, 1]}, {"mean": [0, 0]}, {"mean": [float("nan")] * 3}, {"std": 5}],
)
def test_a_saved_preparation_that_was_tampered_with_is_refused(tmp_path, change):
    built("resnet18", output="stem").save(tmp_path)
    file = tmp_path / "network.json"
    kept = json.loads(file.read_text())
    assert set(change) <= set(kept["preparation"])
    file.write_text(json.dumps(kept | {"preparation": kept["preparation"] | change}))
    with pytest.raises(WeightsError):
        built("resnet18", saved=tmp_path)


@pytest.mark.parametrize("text", ["", "[]", "{", "null", "[" * 100_000])
def test_what_was_saved_and_is_no_longer_json_is_refused(tmp_path, text):
    (tmp_path / "network.json").write_text(text)
    with pytest.raises(WeightsError, match=r"network\.json is damaged"):
        built("resnet18", saved=tmp_path)


@pytest.mark.parametrize(
    ("name", "options", "said"),
    [
        ("vgg16", {"output": "blok5"}, "did you mean 'block5'"),
        ("vgg16", {"weights": "imagenet-features", "output": "fc6"}, "these weights have no fc6"),
        ("vgg16", {"weights": "imagenet-feature"}, "did you mean 'imagenet-features'"),
        ("vgg13", {"output": "fc6", "pool": "max"}, "leave pool out"),
        ("resnet18", {"output": "layer5"}, "did you mean 'layer"),
        ("resnet18", {"output": "block5"}, "stages: stem, layer1, layer2, layer3, layer4"),
        ("resnet50", {"weights": "imagenet-v3"}, "did you mean 'imagenet"),
        ("resnet18", {"weights": "imagenet-v2"}, "names: imagenet, random"),
        ("vgg19", {"weights": "imagenet-features"}, "names: imagenet, random"),
    ],
)
def test_a_wrong_name_is_refused_with_what_to_do(name, options, said):
    with pytest.raises(UsageError) as caught:
        built(name, **options)
    assert said in str(caught.value)
