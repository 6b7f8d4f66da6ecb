"""A saved model tests itself when it is loaded: preparation, network, head and labels are those of its training."""

import csv
import json
import random
import shutil

import pytest
import torch
from torchvision.transforms.v2 import functional

import tlcore
from tl_text.checkpoint import write_tiny
from tl_vision import preparation
from tlcore import WeightsError
from tlcore.files.atomic import publish_folder, verify_folder

TRAIN = {"train": {"epochs": 2}, "evaluate": {"resamples": 0, "probe": False, "report": "none"}, "seed": 1}


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    """Return the folder of a run on drawn pictures."""
    folder = tmp_path_factory.mktemp("pictures")
    recipe = {
        "task": "image-classification",
        "data": {"source": "drawn-vehicles", "count": 40},
        "backbone": {"name": "resnet18", "weights": "random", "output": "layer1", "size": 64},
        "adapter": {"name": "fine-tuning", "layers": 1},
        **TRAIN,
    }
    (folder / "recipe.yaml").write_text(json.dumps(recipe))
    return tlcore.run(folder / "recipe.yaml", out=folder / "run", warn=lambda text: None).folder


@pytest.fixture(scope="module")
def texts(tmp_path_factory):
    """Return the folder of a run on texts."""
    folder = tmp_path_factory.mktemp("texts")
    write_tiny(folder / "bert")
    drawn = random.Random(1)
    with (folder / "reviews.csv").open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["text", "label"])
        for n in range(60):
            rows.writerow([" ".join(drawn.choices(["good", "film", "not", "at", "all"], k=5)) + f" {n}", "ab"[n % 2]])
    recipe = {
        "task": "text-classification",
        "data": {"source": "table", "path": str(folder / "reviews.csv")},
        "backbone": {"name": "bert", "weights": str(folder / "bert")},
        "adapter": "feature-extraction",
        **TRAIN,
    }
    (folder / "recipe.yaml").write_text(json.dumps(recipe))
    return tlcore.run(folder / "recipe.yaml", out=folder / "run", warn=lambda text: None).folder


def changed(run, target, change):
    """Publish a model anew after a change, as whoever changed it in good faith would."""

    def fill(partial):
        shutil.copytree(run / "model", partial, dirs_exist_ok=True)
        (partial / "manifest.json").unlink()
        change(partial)

    publish_folder(target / "model", fill, about={"format": 4})
    return target


def json_changed(name, change):
    def apply(model):
        found = json.loads((model / name).read_text())
        change(found)
        (model / name).write_text(json.dumps(found))

    return apply


def refusal(run):
    with pytest.raises(WeightsError) as caught:
        tlcore.load(run)
    assert caught.value.exit_code == 4
    return caught.value.what


def test_what_is_unchanged_is_loaded(pictures, texts, tmp_path):
    for run in (pictures, texts):
        tlcore.load(changed(run, tmp_path / run.parent.name, lambda model: None))


def test_a_model_of_an_older_format_names_the_version_that_reads_it(pictures, tmp_path):
    def change(found):
        found.update(format=3)
        del found["tlcore"]

    with pytest.raises(WeightsError, match=r"written by tlcore 0\.1\.0 \(format 3\); this version reads") as caught:
        tlcore.load(changed(pictures, tmp_path, json_changed("artifact.json", change)))
    assert caught.value.exit_code == 4
    assert caught.value.hint == "load it with tlcore 0.1.0 or run the recipe again"


def test_a_model_keeps_samples_and_nothing_of_its_data(pictures):
    listed = verify_folder(pictures / "model")["files"]
    kept = json.loads((pictures / "model" / "artifact.json").read_text())["self_test"]
    assert [name for name in listed if name.startswith("self_test/")] == ["self_test/0.png", "self_test/striped.png"]
    assert [len(row) for row in kept["features"]] == [32, 32]
    assert sum((pictures / "model" / name).stat().st_size for name in listed if "self_test/" in name) < 20_000


def test_another_normalisation_is_refused(pictures, tmp_path):
    change = json_changed("backbone/network.json", lambda found: found["preparation"].update(mean=[0.5] * 3))
    assert "self-test failed" in refusal(changed(pictures, tmp_path, change))


def test_another_size_is_refused(pictures, tmp_path):
    change = json_changed("artifact.json", lambda found: found["backbone"]["options"].update(size=60))
    assert "self-test failed" in refusal(changed(pictures, tmp_path, change))


def test_another_order_of_the_channels_is_refused(pictures, monkeypatch):
    original = preparation.pixels_of
    monkeypatch.setattr(preparation, "pixels_of", lambda source: original(source).flip(0))
    assert "self-test failed" in refusal(pictures)


def test_another_way_to_resize_is_refused(pictures, monkeypatch):
    original = functional.resize
    monkeypatch.setattr(functional, "resize", lambda pixels, size, **given: original(pixels, size, antialias=False))
    assert "self-test failed" in refusal(pictures)


def test_a_picture_that_cannot_be_read_any_more_is_refused(pictures, tmp_path):
    run = changed(pictures, tmp_path, lambda model: (model / "self_test" / "0.png").write_bytes(b"\x89PNG"))
    assert "self-test failed" in refusal(run)


def test_another_order_of_the_labels_is_refused(pictures, tmp_path):
    change = json_changed("artifact.json", lambda found: found["task_state"]["classes"].reverse())
    assert "the labels are not those" in refusal(changed(pictures, tmp_path, change))


def test_a_new_name_for_a_label_is_refused(texts, tmp_path):
    change = json_changed("artifact.json", lambda found: found["task_state"].update(classes=["a", "c"]))
    assert "the labels are not those" in refusal(changed(texts, tmp_path, change))


@pytest.mark.parametrize("part", ["head/weight", "stages/layer1", "standardise/mean"])
def test_other_weights_are_refused(pictures, tmp_path, part):
    from safetensors.torch import load_file, save_file

    def change(model):
        tensors = load_file(model / "model.safetensors")
        name = next(name for name in tensors if name.startswith(part) and tensors[name].is_floating_point())
        tensors[name] = tensors[name].flip(0) * 1.5 + 1
        save_file(tensors, model / "model.safetensors")

    assert "self-test failed" in refusal(changed(pictures, tmp_path, change))


def test_a_tokenizer_with_other_words_is_refused(texts, tmp_path):
    def swap(found):
        words = found["model"]["vocab"]
        words["one"], words["all"] = words["all"], words["one"]

    run = changed(texts, tmp_path, json_changed("backbone/tokenizer.json", swap))
    assert refusal(run) == "the tokenizer has other words than the network was trained with"


def test_a_tokenizer_that_reads_otherwise_is_refused(texts, tmp_path):
    change = json_changed("backbone/tokenizer.json", lambda found: found["normalizer"].update(lowercase=False))
    assert "self-test failed" in refusal(changed(texts, tmp_path, change))


def test_a_tokenizer_with_ids_that_the_network_does_not_know_is_refused(texts, tmp_path):
    change = json_changed("backbone/tokenizer.json", lambda found: found["model"]["vocab"].update(more=14))
    assert "ids up to 14, the network knows 14" in refusal(changed(texts, tmp_path, change))


@pytest.mark.parametrize(
    "recorded",
    [
        {"inputs": [{"file": "../artifact.json"}], "features": [[1.0]], "outputs": [[1.0]]},
        {"inputs": [{"file": "0.png"}], "features": "none", "outputs": [[1.0]]},
        {"inputs": [{"base64": "?"}], "features": [[1.0]], "outputs": [[1.0]]},
        {"inputs": [{"file": "0.png"}], "features": [[1.0]], "outputs": [[1.0]]},
        {"inputs": [{"file": "0.png"}], "outputs": [[float("nan")] * 3]},
        {"inputs": 5},
        {},
    ],
)
def test_a_damaged_record_is_refused(pictures, tmp_path, recorded):
    run = changed(pictures, tmp_path, json_changed("artifact.json", lambda found: found.update(self_test=recorded)))
    assert "self-test" in refusal(run)


def test_a_backbone_whose_samples_cannot_be_read_leaves_a_model_with_a_note(pictures, tmp_path):
    from dataclasses import replace

    from tlcore.model.self_test import record_self_test
    from tlcore.plugins.host import PluginHost
    from tlcore.plugins.registry import Registry

    spec = Registry(PluginHost()).find("backbone", "resnet18").spec
    model = tlcore.load(pictures)
    spec = replace(spec, samples=lambda folder: [tlcore.Example(id="0", input=object())])
    with pytest.warns(tlcore.RecipeWarning, match="will not test itself"):
        assert record_self_test(tmp_path / "s", spec, model._backbone, model._model) == {"inputs": []}


def test_small_differences_of_processors_are_borne(pictures, monkeypatch):
    original = functional.normalize
    monkeypatch.setattr(
        functional,
        "normalize",
        lambda pixels, *given, **more: original(pixels, *given, **more) * (1 + 1e-5) + 1e-6 * torch.ones(1),
    )
    tlcore.load(pictures)
