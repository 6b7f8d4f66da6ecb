"""Hostile models of images: their preparation, network and self-test are validated before an image is read."""

import shutil

import pytest
from PIL import Image

import tlcore
from tests.support.hostile import accepted, edit, pull_resnet, put, refused, seal

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def good(good):
    """Return the good files with a run on images, and one of its images."""
    recipe = {
        "task": "image-classification",
        "data": {"source": "drawn-vehicles", "count": 40},
        "backbone": {"name": "resnet18", "weights": "random", "output": "layer1", "size": 32},
        "adapter": {"name": "feature-extraction"},
        "train": {"epochs": 1},
        "evaluate": {"resamples": 0, "probe": False, "report": "none"},
    }
    put(good / "images.yaml", recipe)
    tlcore.run(good / "images.yaml", out=good / "images", warn=lambda text: None)
    shutil.copy(min((good / "images" / "model" / "self_test").iterdir()), good / "new.png")
    return good


def changed(work, files):
    """Return a run whose model has other files, with a manifest that fits."""
    run = work.copy("images", {f"model/{name}": content for name, content in files.items()})
    seal(run / "model")
    return run


def model(files):
    return lambda work: ["predict", str(changed(work, files)), str(work.good / "new.png"), "--format", "jsonl"]


def network(**changes):
    return model({"backbone/network.json": edit(**changes)})


def options(**changes):
    return model({"artifact.json": edit(**{f"backbone__options__{key}": value for key, value in changes.items()})})


def self_test(example, **files):
    return model({"artifact.json": edit(self_test__inputs=[example])} | files)


def huge_image(path):
    Image.new("1", (20_000, 20_000)).save(path)


def weights(work):
    scale = {"mean": [0.0] * 3, "std": [10**400] * 3}
    return pull_resnet(work, changed(work, {"backbone/network.json": edit(preparation__scale=scale)}))


REFUSED = {
    "huge mean": network(preparation__mean=[10**400] * 3),
    "mean that is a text": network(preparation__mean="abc"),
    "huge margin": network(preparation__margin=1e300),
    "scale that is a number": network(preparation__scale=5),
    "output that is a list": network(output=["layer1"]),
    "network that is a list": network(network=["resnet18"]),
    "huge size": options(size=100_000),
    "huge resize": options(resize=100_000),
    "large size flattened": options(size=4096, pool="flatten"),
    "self-test of a NUL": self_test({"file": "a\0b"}),
    "self-test of a folder": self_test({"file": ".."}),
    "self-test of a decompression bomb": self_test({"file": "bomb.png"}, **{"self_test/bomb.png": huge_image}),
    "self-test of invalid Base64": self_test({"base64": "%%%"}),
    "weights with a huge standard deviation": weights,
}
CASES = {"good": accepted(model({}))} | {name: refused(build) for name, build in REFUSED.items()}


@pytest.mark.parametrize("case", CASES)
def test_hostile_image_model_is_refused(case, check):
    check(CASES[case])
