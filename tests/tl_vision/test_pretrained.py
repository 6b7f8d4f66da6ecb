"""Weights are this network's, whatever place they come from, and expect the pictures that they always expected."""

import json
import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file

import tl_vision
from tl_vision import pretrained
from tl_vision.architectures import WeightFile
from tl_vision.network import PictureNetwork
from tl_vision.stages import CLASSIFIERS, expected_tensors
from tlcore import RecipeWarning, UsageError, WeightsError
from tlcore.files.atomic import publish_folder
from tlcore.files.digests import file_digest

SIDE = 32
SPECS = {spec.name: spec for spec in tl_vision.tl_backbones()}


def built(name, saved=None, **options):
    return PictureNetwork(name, SPECS[name].options(**{"size": SIDE} | options), saved)


def tensors_of(backbone):
    return {key: value for stage in backbone.stages.values() for key, value in stage.state_dict().items()}


def random_tensors(name, output=None):
    torch.manual_seed(2)
    return tensors_of(built(name, weights="random", output=output))


@pytest.fixture(scope="module")
def resnet18():
    return random_tensors("resnet18")


def given(tensors, folder, name="own.safetensors"):
    path = folder / name
    save_file(tensors, path) if path.suffix == ".safetensors" else torch.save(tensors, path)
    return path


def left_by_a_run(folder, backbone, change=lambda tensors: tensors):
    """Publish what a run leaves of a backbone, beside the head of its task."""

    def fill(partial):
        tensors = {
            f"stages/{stage}/{key}": value
            for stage, module in backbone.stages.items()
            for key, value in module.state_dict().items()
        }
        save_file(change(tensors | {"head/weight": torch.zeros(2, 3)}), partial / "model.safetensors")
        (partial / "artifact.json").write_text("{}")
        (partial / "backbone").mkdir()
        backbone.save(partial / "backbone")

    publish_folder(folder / "model", fill)
    return folder


@pytest.mark.parametrize("suffix", ["safetensors", "pth"])
@pytest.mark.parametrize("classes", [None, 3, 1000])
def test_a_checkpoint_with_the_last_layer_of_any_classes_is_read(resnet18, tmp_path, suffix, classes):
    last = {} if classes is None else {"fc.weight": torch.zeros(classes, 512), "fc.bias": torch.zeros(classes)}
    backbone = built("resnet18", weights=given(resnet18 | last, tmp_path, f"own.{suffix}"))
    found = tensors_of(backbone)
    assert found.keys() == resnet18.keys()
    assert all(torch.equal(value, resnet18[key]) for key, value in found.items())


def test_a_checkpoint_from_before_batches_were_counted_is_read(resnet18, tmp_path):
    old = {key: value for key, value in resnet18.items() if not key.endswith("num_batches_tracked")}
    assert len(old) < len(resnet18)
    found = tensors_of(built("resnet18", weights=given(old, tmp_path)))
    assert all(torch.equal(value, resnet18[key]) for key, value in found.items())


def test_values_above_the_output_are_not_looked_at(resnet18, tmp_path):
    broken = resnet18 | {"layer4.0.conv1.weight": torch.full((512, 256, 3, 3), float("nan"))}
    path = given(broken, tmp_path)
    assert list(built("resnet18", weights=path, output="layer3").stages)[-1] == "layer3"
    with pytest.raises(WeightsError, match="do not fit") as caught:
        built("resnet18", weights=path)
    assert "not finite: layer4.0.conv1.weight" in str(caught.value)


@pytest.mark.parametrize("damage", ["missing", "extra", "transposed", "prefixed", "empty"])
def test_damaged_weights_are_refused_by_the_tensors_name(resnet18, tmp_path, damage):
    tensors = dict(resnet18)
    name = "layer2.0.conv1.weight"
    if damage == "missing":
        del tensors[name]
    elif damage == "extra":
        name = "layer2.7.conv1.weight"
        tensors[name] = torch.zeros(1)
    elif damage == "transposed":
        tensors[name] = tensors[name].transpose(0, 1).contiguous()
    elif damage == "prefixed":
        name = "module.bn1.bias"
        tensors = {f"module.{key}": value for key, value in tensors.items()}
    else:
        name, tensors = "conv1.weight", {"fc.bias": torch.zeros(3)}
    with pytest.raises(WeightsError, match="do not fit resnet18") as caught:
        built("resnet18", weights=given(tensors, tmp_path), output="stem")
    assert name in caught.value.where
    assert len(caught.value.where.splitlines()) <= pretrained.TABLE_ROWS + 3


@pytest.mark.parametrize(
    ("name", "other"),
    [
        ("resnet18", "resnet34"),
        ("resnet34", "resnet18"),
        ("resnet50", "resnet101"),
        ("vgg16", "resnet18"),
        ("vgg11", "vgg11_bn"),
        ("vgg16", "vgg13"),
        ("vgg13_bn", "vgg19_bn"),
    ],
)
def test_another_networks_tensors_are_refused_and_their_network_named(name, other):
    tensors = {
        key: torch.empty(shape, device="meta")
        for key, (stage, shape) in expected_tensors(other).items()
        if not stage.startswith("fc")
    }
    with pytest.raises(WeightsError, match=f"they are those of {other}") as caught:
        pretrained._fitting_stages(name, tensors, pretrained.Path("weights.pth"))
    assert f"write `name: {other}`" in caught.value.hint
    assert f"in {name}" in caught.value.where


def test_each_networks_own_tensors_fit_it_and_no_other():
    names = list(SPECS)
    for own in names:
        tensors = {key: torch.empty(shape, device="meta") for key, (_, shape) in expected_tensors(own).items()}
        tensors |= {key: torch.empty(7, device="meta") for key in CLASSIFIERS["vgg" if own[0] == "v" else "resnet"]}
        assert [name for name in names if not pretrained._faults(name, tensors)] == [own]


def test_a_checkpoint_that_ends_early_is_used_as_far_as_it_goes(tmp_path):
    path = given(random_tensors("vgg11", "block2"), tmp_path)
    assert list(built("vgg11", weights=path).stages) == ["block1", "block2"]
    with pytest.raises(UsageError, match="these weights have no block3"):
        built("vgg11", weights=path, output="block3")


def test_a_copy_of_published_weights_expects_what_they_expect(monkeypatch, tmp_path):
    path = given(random_tensors("resnet50", "stem"), tmp_path)
    usual = built("resnet50", weights=path, output="stem").preparation
    file = WeightFile("https://example.org/resnet50.pth", file_digest(path)[:8])
    monkeypatch.setattr(pretrained, "weight_files", lambda name: {"imagenet-v2": file})
    copied = built("resnet50", weights=path, output="stem").preparation
    monkeypatch.setattr(pretrained, "download", lambda url, **options: path)
    named = built("resnet50", weights="imagenet-v2", output="stem").preparation
    assert copied == named != usual


def test_a_name_asks_for_its_own_file_with_its_digest_and_where_torch_keeps_it(monkeypatch, tmp_path):
    path, asked = given(random_tensors("resnet50", "stem"), tmp_path), []
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))

    def watched(url, *, digest_prefix, also_at):
        asked.append((url, digest_prefix, list(also_at)))
        return path

    monkeypatch.setattr(pretrained, "download", watched)
    for weights in ("imagenet", "imagenet-v2"):
        built("resnet50", weights=weights, output="stem")
    for (url, digest, also_at), prefix in zip(asked, ("0676ba61", "11ad3fa6"), strict=True):
        assert url == f"https://download.pytorch.org/models/resnet50-{prefix}.pth"
        assert digest == prefix
        assert also_at == [tmp_path / "torch" / "hub" / "checkpoints" / f"resnet50-{prefix}.pth"]


@pytest.mark.parametrize("below", ["", "model"])
def test_what_a_run_left_is_taken_with_its_preparation(tmp_path, below):
    first = built("resnet18", weights="random", output="layer1")
    run = left_by_a_run(tmp_path / "run", first)
    file = run / "model" / "backbone" / pretrained.KEPT
    again = built("resnet18", weights=run / below)
    assert json.loads(file.read_text())["network"] == "resnet18"
    assert list(again.stages) == ["stem", "layer1"]
    assert again.preparation == first.preparation
    assert all(torch.equal(value, tensors_of(first)[key]) for key, value in tensors_of(again).items())


def test_the_preparation_of_a_run_is_that_of_its_own_weights(monkeypatch, tmp_path):
    path = given(random_tensors("resnet50", "stem"), tmp_path)
    monkeypatch.setattr(pretrained, "download", lambda url, **options: path)
    first = built("resnet50", weights="imagenet-v2")
    again = built("resnet50", weights=left_by_a_run(tmp_path / "run", first))
    assert again.preparation == first.preparation
    assert again.preparation != built("resnet50", weights=path).preparation


def test_the_weights_of_a_run_expect_the_pictures_that_it_showed_them(tmp_path):
    with pytest.warns(RecipeWarning, match="zero-one"):
        first = built("resnet18", weights="random", output="stem", normalise="zero-one")
    assert first.preparation["mean"] == [0.0, 0.0, 0.0]
    again = built("resnet18", weights=left_by_a_run(tmp_path / "run", first))
    assert (again.preparation["mean"], again.preparation["std"]) == ([0.0] * 3, [1.0] * 3)


def test_what_was_measured_on_the_training_pictures_is_kept_for_prediction_and_for_the_next_run(tmp_path):
    examples = SPECS["resnet18"].samples(tmp_path)
    with pytest.warns(RecipeWarning, match="dataset"):
        first = built("resnet18", weights="random", output="stem", normalise="dataset")
    first.fit(examples)
    measured = first.preparation["mean"]
    assert measured != list(pretrained.IMAGENET_MEAN)
    run = left_by_a_run(tmp_path / "run", first)
    for again in (
        built("resnet18", weights=run),
        built("resnet18", saved=run / "model" / "backbone", normalise="dataset"),
    ):
        assert again.preparation["mean"] == pytest.approx(measured)
        assert torch.equal(again.prepare(examples)["hidden"], first.prepare(examples)["hidden"])


def test_a_run_of_another_network_is_refused_by_its_name(tmp_path):
    run = left_by_a_run(tmp_path / "run", built("resnet34", weights="random", output="stem"))
    with pytest.raises(WeightsError, match="are of resnet34, not of resnet18") as caught:
        built("resnet18", weights=run)
    assert "name: resnet34" in caught.value.hint


def test_a_run_whose_file_was_changed_is_refused(tmp_path):
    run = left_by_a_run(tmp_path / "run", built("resnet18", weights="random", output="stem"))
    path = run / "model" / "model.safetensors"
    tensors = load_file(path)
    tensors["stages/stem/conv1.weight"] += 1
    save_file(tensors, path)
    with pytest.raises(WeightsError, match="changed since it was written"):
        built("resnet18", weights=run)


def test_a_run_whose_tensors_lie_in_another_stage_is_refused(tmp_path):
    def moved(tensors):
        return {key.replace("stages/stem/bn1", "stages/layer1/bn1"): value for key, value in tensors.items()}

    run = left_by_a_run(tmp_path / "run", built("resnet18", weights="random", output="stem"), moved)
    with pytest.raises(WeightsError, match="do not fit resnet18") as caught:
        built("resnet18", weights=run)
    assert "stages/layer1/bn1.bias" in caught.value.where


def test_a_model_without_one_of_our_networks_is_refused(tmp_path):
    run = left_by_a_run(tmp_path / "run", built("resnet18", weights="random", output="stem"))
    model = run / "model"
    manifest = json.loads((model / "manifest.json").read_text())
    del manifest["files"][f"backbone/{pretrained.KEPT}"]
    (model / "manifest.json").write_text(json.dumps(manifest))
    (model / "backbone" / pretrained.KEPT).unlink()
    with pytest.raises(WeightsError, match="no network of this plugin"):
        built("resnet18", weights=run)


def test_a_folder_without_a_finished_run_is_refused(tmp_path):
    (tmp_path / "photos").mkdir()
    with pytest.raises(UsageError, match="without the model of a finished run"):
        built("resnet18", weights=tmp_path / "photos")
    (tmp_path / "run").mkdir()
    shutil.copytree(tmp_path / "photos", tmp_path / "run" / "model")
    with pytest.raises(UsageError, match="without the model of a finished run"):
        built("resnet18", weights=tmp_path / "run")
