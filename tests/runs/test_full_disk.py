"""A real file system that is full, at one point after the other: an error with numbers, and the run goes on later."""

import json
import shutil
import subprocess
import sys

import pytest
from PIL import Image

import tlcore
from tlcore.errors import ResourceError

SIZE = 72 * 2**20
PAGE = 4096
RECIPE = {
    "task": "image-classification",
    "data": {"source": "folder", "path": "PHOTOS"},
    "backbone": {"name": "resnet18", "weights": "random", "size": 32},
    "adapter": "feature-extraction",
    "train": {"epochs": 2, "precision": "fp32", "device": "cpu", "checkpoint_steps": 1, "batch_size": 8},
    "evaluate": {"resamples": 10, "probe": False, "report": "none"},
}


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """Return a folder that is a file system of its own, of 72 MB."""
    folder = tmp_path_factory.mktemp("small")
    if not sys.platform.startswith("linux"):
        pytest.skip("a file system in memory is mounted on Linux only")
    words = ["mount", "-t", "tmpfs", "-o", f"size={SIZE}", "tmpfs", str(folder)]
    if subprocess.run(words, capture_output=True, check=False).returncode:
        pytest.skip("nothing may be mounted here")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


@pytest.fixture(scope="module")
def recipe(tmp_path_factory):
    folder = tmp_path_factory.mktemp("photos")
    for n in range(40):
        path = folder / "ab"[n % 2] / f"{n}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.effect_noise((36, 36), 20 + n).convert("RGB").point(lambda v, n=n: v // (1 + n % 2)).save(path)
    path = folder.with_name("recipe.json")
    path.write_text(json.dumps(RECIPE).replace("PHOTOS", str(folder)))
    return path


def quiet(text):
    pass


def fill(small, room):
    """Leave room for so many bytes."""
    with (small / "filling").open("wb") as file:
        file.truncate(0)
        file.flush()
        whole = subprocess.run(["df", "--output=avail", "-B1", small], capture_output=True, text=True, check=True)
        file.write(bytes(max(0, int(whole.stdout.split()[1]) - room)))


def failure_of(recipe, out):
    """Return what a run ends with, None where it ends well."""
    try:
        tlcore.run(recipe, out=out, warn=quiet)
    except (ResourceError, OSError) as error:
        return error
    return None


@pytest.mark.parametrize(
    "rooms", [range(2, 46, 9), pytest.param(range(1, 80), marks=pytest.mark.long)], ids=["some", "all"]
)
def test_a_run_on_a_full_disk_ends_with_numbers_and_goes_on_from_there(small, recipe, tmp_path, monkeypatch, rooms):
    monkeypatch.setattr("tlcore.runs.disk_estimate.SPARE", 0)  # another process fills it after that look
    unbroken = tlcore.run(recipe, out=tmp_path / "unbroken", warn=quiet).folder
    ends = set()
    for number in [*rooms, 6000]:  # 6000 pages hold everything but the model
        out = small / f"run-{number}"
        fill(small, number * PAGE)
        error = failure_of(recipe, out)
        (small / "filling").unlink()
        if error is not None:
            begun = (out / "begun.json").is_file()
            assert not (out / "model").exists()
            assert isinstance(error, ResourceError) or not begun
            if begun:
                ends.add(error.what.split(":")[0].rstrip("0123456789 "))
                assert f"go on: tl run --resume {out}" in error.hint
                assert "are free there" in error.where
                tlcore.resume(out, warn=quiet)
        for name in ("metrics.json", "predictions.parquet", "model/model.safetensors"):
            if (out / "metrics.json").is_file():
                assert (out / name).read_bytes() == (unbroken / name).read_bytes(), (number, name)
        shutil.rmtree(out)
    assert len(ends) > 1


def test_a_store_on_a_full_disk_is_left_as_it_was(small, recipe, tmp_path, monkeypatch):
    monkeypatch.setenv("TL_CACHE", str(small / "cache"))
    monkeypatch.setattr("tlcore.features.caching_cost.FREE_SHARE", 1e9)  # another process fills it after that look
    for number in (6, 12, 20):
        fill(small, number * PAGE)
        with pytest.raises(ResourceError) as caught:
            tlcore.run(recipe, out=tmp_path / f"run-{number}", warn=quiet)
        assert "are needed" in caught.value.where
        assert "TL_CACHE" in caught.value.hint
        assert not list((small / "cache").rglob("*.safetensors"))
        (small / "filling").unlink()
    tlcore.run(recipe, out=tmp_path / "run", warn=quiet)
    assert list((small / "cache").rglob("*.safetensors"))


def test_a_run_that_the_disk_cannot_take_computes_nothing(small, recipe, tmp_path):
    fill(small, 50 * 10**6)  # the network takes 45 MB, and a fifth more must be free
    told = []
    with pytest.raises(ResourceError) as caught:
        tlcore.run(recipe, out=small / "run", warn=told.append)
    assert "45 MB for the model" in caught.value.what
    assert "54 MB are needed, 50 MB are free there" in caught.value.where
    assert f"go on: tl run --resume {small / 'run'}; free some space" in caught.value.hint
    assert not any("to compute" in text for text in told)
    (small / "filling").unlink()
    tlcore.resume(small / "run", warn=told.append)
    shutil.rmtree(small / "run")
    assert any(text.startswith("disk: at most 33 KB for a checkpoint, 45 MB for the model") for text in told)


def test_the_store_leaves_room_for_what_the_run_writes_on_the_same_disk(small, recipe, tmp_path, monkeypatch):
    monkeypatch.setenv("TL_CACHE", str(small / "another cache"))
    fill(small, 56 * 10**6)
    with pytest.raises(ResourceError, match="are free, of which the run itself needs 54 MB"):
        tlcore.run(recipe, out=small / "beside", overrides=["features.store=always"], warn=quiet)
    tlcore.run(recipe, out=tmp_path / "run", overrides=["features.store=always"], warn=quiet)
    (small / "filling").unlink()
